// Create or edit a source, a connector or a sink: type, name, options, test.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError, create, test, update } from "./api";
import { Form } from "./form";
import { look, status } from "./live";
import { Act, Dialog, Notice, told, useLoad } from "./parts";
import { schema, typeName, variants } from "./schema";
import type { Options, PartKind, Schema } from "./types";

export const ONE: Record<PartKind, string> = { sources: "source", connectors: "connector", rules: "rule", sinks: "sink" };
const HIDDEN = new Set(["type", "enable"]);
/** What belongs to the connection, which a sink with a connector has from there. */
const CONNECTION = new Set(["url", "tls", "pool_size", "pipelining", "connect_timeout", "max_inactive"]);

interface Props {
  kind: PartKind;
  name?: string;
  /** What it is now, to edit. */
  initial?: Options;
  saved: (name: string) => void;
  cancel: () => void;
}

export function PartForm(props: Props): JSX.Element {
  const root = useLoad(schema);
  if (root.error) return <Notice>{root.error}</Notice>;
  if (!root.value) return <p class="hint">Loading…</p>;
  return <Filled {...props} root={root.value} />;
}

function Filled(props: Props & { root: Schema }): JSX.Element {
  const { kind, root, name: fixed } = props;
  const types = variants(kind, root);
  const [type, setType] = useState(String(props.initial?.["type"] ?? preferred(kind, types)));
  const [name, setName] = useState(fixed ?? "");
  const [options, setOptions] = useState<Options>(() => without(props.initial ?? {}, ["type", "name", ...READ_ONLY]));
  const [error, setError] = useState<ApiError | Error | null>(null);
  const [result, setResult] = useState<{ good: boolean; message: string } | null>(null);
  const [nested, setNested] = useState(false);
  const variant = types.find((each) => typeName(each) === type);
  const connectors = Object.keys(status.value?.connectors ?? {});
  const takesConnector = variant?.properties?.["connector"] !== undefined;
  useEffect(() => {
    if (kind === "sinks" && takesConnector && !fixed && connectors.length === 1 && options["connector"] === undefined)
      setOptions((before) => ({ connector: connectors[0] as string, ...before }));
  }, [type]);
  const body = (): Options => ({ name, type, ...options });
  const save = async () => {
    setError(null);
    try {
      if (fixed) await update(kind, fixed, { type, ...options });
      else await create(kind, body());
    } catch (failure) {
      setError(failure as Error);
      return;
    }
    await look();
    props.saved(name);
  };
  const tryIt = async () => {
    setResult(null);
    try {
      await test(kind, body());
      setResult({ good: true, message: kind === "sinks" ? "The test event was delivered." : "Connected." });
    } catch (failure) {
      setResult({ good: false, message: told(failure) });
    }
  };
  const skip = new Set([...HIDDEN, ...(kind === "sinks" && options["connector"] ? CONNECTION : [])]);
  return (
    <>
    <form
      class="part"
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      {!fixed && (
        <fieldset class="types">
          <legend>Type</legend>
          {types.map((each) => (
            <label key={typeName(each)} class={typeName(each) === type ? "type chosen" : "type"}>
              <input type="radio" name="type" value={typeName(each)} checked={typeName(each) === type} onChange={() => { setType(typeName(each)); setOptions({}); setResult(null); }} />
              <span>
                <strong>{typeName(each)}</strong>
                <small>{firstSentence(each.description)}</small>
              </span>
            </label>
          ))}
        </fieldset>
      )}
      {!fixed && (
        <div class="field">
          <label for={`${kind}name`}>
            name<span class="needed"> required</span>
          </label>
          <input id={`${kind}name`} type="text" required autocomplete="off" spellcheck={false} value={name} pattern="[0-9a-zA-Z][\-0-9a-zA-Z_]*" placeholder={`my_${ONE[kind]}`} onInput={(event) => setName(event.currentTarget.value)} />
          <p class="hint">Letters, digits, - and _. The configuration knows it by this name.</p>
        </div>
      )}
      {variant && (
        <Form key={type} schema={variant} root={root} value={options} change={setOptions} skip={skip} choices={takesConnector ? { connector: connectors } : {}} problem={error instanceof ApiError && error.path ? { path: error.path, message: error.message } : null} />
      )}
      {kind === "sinks" && takesConnector && (
        <p>
          <button type="button" class="quiet" onClick={() => setNested(true)}>
            + Create a connector for it
          </button>
        </p>
      )}
      {error && <Notice>{error.message}</Notice>}
      {result && <Notice kind={result.good ? "good" : "error"}>{result.message}</Notice>}
      <div class="buttons">
        <button type="button" onClick={props.cancel}>
          Cancel
        </button>
        {kind !== "sources" && (
          <Act run={tryIt}>{kind === "sinks" ? "Test with a sample" : "Test connectivity"}</Act>
        )}
        <button type="submit" class="primary">
          {fixed ? "Save" : "Create"}
        </button>
      </div>
    </form>
      {nested && (
        <Dialog title="Create a connector" close={() => setNested(false)}>
          <PartForm kind="connectors" saved={(made) => { setOptions((before) => ({ ...before, connector: made })); setNested(false); }} cancel={() => setNested(false)} />
        </Dialog>
      )}
    </>
  );
}

/** What the API tells of a part beside its options. */
export const READ_ONLY = ["state", "reason", "since", "last_error", "last_error_at", "counters", "flow", "used_by", "kind", "status", "sinks", "rules", "inline", "live"];

export function without(options: Options, names: string[]): Options {
  return Object.fromEntries(Object.entries(options).filter(([name]) => !names.includes(name)));
}

function preferred(kind: PartKind, types: Schema[]): string {
  const names = types.map(typeName);
  const wish = kind === "sources" ? "mqtt_server" : "http";
  return names.includes(wish) ? wish : (names[0] ?? "");
}

const firstSentence = (text = ""): string => text.split(/[:.](\s|$)/)[0] ?? "";
