// Create or edit a source, a connector or a sink: type, name, options, test.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, create, test, update, type Step } from "./api";
import { Form, type Wrong } from "./form";
import { look, status } from "./live";
import { Act, Dialog, Notice, span, told, useLoad } from "./parts";
import { schema, typeName, variants } from "./schema";
import type { Options, PartKind, Schema } from "./types";
import { mayAct, mayChange, whyNot } from "./who";

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
  const [result, setResult] = useState<Result | null>(null);
  const [nested, setNested] = useState(false);
  const variant = types.find((each) => typeName(each) === type);
  const connectors = Object.keys(status.value?.connectors ?? {});
  const takesConnector = variant?.properties?.["connector"] !== undefined;
  useEffect(() => {
    if (kind === "sinks" && takesConnector && !fixed && connectors.length === 1 && options["connector"] === undefined)
      setOptions((before) => ({ connector: connectors[0] as string, ...before }));
  }, [type]);
  const first = useRef<HTMLInputElement>(null);
  useEffect(() => first.current?.focus(), []);
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
      const { steps, request } = await test(kind, body());
      setResult({ good: true, message: kind === "sinks" ? "The test event was delivered." : "Connected.", steps, request });
    } catch (failure) {
      setResult({ good: false, message: told(failure), ...(failure instanceof ApiError ? failure.more : {}) });
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
      {whyNot.value && <Notice kind="warn">{whyNot.value}</Notice>}
      <fieldset class="plain" disabled={!mayChange.value}>
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
          <input ref={first} id={`${kind}name`} type="text" required autocomplete="off" spellcheck={false} value={name} pattern="[0-9a-zA-Z][\-0-9a-zA-Z_]*" placeholder={`my_${ONE[kind]}`} onInput={(event) => setName(event.currentTarget.value)} />
          <p class="hint">Letters, digits, - and _. The configuration knows it by this name.</p>
        </div>
      )}
      {variant && (
        <Form key={type} schema={variant} root={root} value={options} change={setOptions} skip={skip} choices={takesConnector ? { connector: connectors } : {}} wrong={faults(error, `${kind}.${name}`)} />
      )}
      </fieldset>
      {kind === "sinks" && takesConnector && mayChange.value && (
        <p>
          <button type="button" class="quiet" onClick={() => setNested(true)}>
            + Create a connector for it
          </button>
        </p>
      )}
      {error && <Notice>{error.message}</Notice>}
      {result && <Outcome result={result} />}
      <div class="buttons">
        <button type="button" onClick={props.cancel}>
          Cancel
        </button>
        {kind !== "sources" && mayAct.value && (
          <Act run={tryIt}>{kind === "sinks" ? "Test with a sample" : "Test connectivity"}</Act>
        )}
        <button type="submit" class="primary" disabled={!mayChange.value}>
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

interface Result {
  good: boolean;
  message: string;
  steps?: Step[] | undefined;
  request?: Options | undefined;
}

/** What came of a test: each stage on the way to the peer, or the request that was made. */
function Outcome({ result }: { result: Result }): JSX.Element {
  return (
    <Notice kind={result.good ? "good" : "error"}>
      <strong>{result.message}</strong>
      {result.steps && (
        <ul class="stages">
          {result.steps.map((each) => (
            <li key={each.name}><span class={each.ok ? "ok" : "error"}>{each.ok ? "✓" : "✗"} {each.name}</span> {each.ok && `${each.detail}${each.seconds ? `, ${span(each.seconds)}` : ""}`}</li>
          ))}
        </ul>
      )}
      {result.request && <Request request={result.request} />}
    </Notice>
  );
}

/** A request as it goes out, secrets starred out. */
export function Request({ request }: { request: Options }): JSX.Element {
  const { method, url, headers, ...rest } = request;
  if (method === undefined) return <pre class="output">{JSON.stringify(request, null, 2)}</pre>;
  const body = rest["body"];
  const lines = [`${String(method)} ${String(url)}`, ...Object.entries((headers ?? {}) as Options).map(([name, value]) => `${name}: ${String(value)}`)];
  return <pre class="output" tabIndex={0} role="region" aria-label="The request">{lines.join("\n")}{body !== undefined && `\n\n${typeof body === "string" ? body : JSON.stringify(body, null, 2)}`}</pre>;
}

/** Faults by the option they are about; those of the whole part are in the message. */
function faults(error: Error | null, prefix: string): Wrong[] {
  if (!(error instanceof ApiError)) return [];
  if (error.more.path) return [{ path: error.more.path.split("."), message: error.message }];
  return (error.more.problems ?? []).flatMap(({ message }) => {
    const [path = "", ...rest] = message.split(": ");
    return path.startsWith(`${prefix}.`) ? [{ path: path.slice(prefix.length + 1).split("."), message: rest.join(": ") }] : [];
  });
}

/** What the API tells of a part beside its options. */
export const READ_ONLY = ["state", "reason", "since", "last_error", "last_error_at", "last_event_at", "errors", "rates", "histograms", "counters", "flow", "used_by", "kind", "status", "sinks", "rules", "inline", "live"];

export function without(options: Options, names: string[]): Options {
  return Object.fromEntries(Object.entries(options).filter(([name]) => !names.includes(name)));
}

function preferred(kind: PartKind, types: Schema[]): string {
  const names = types.map(typeName);
  const wish = kind === "sources" ? "mqtt_server" : "http";
  return names.includes(wish) ? wish : (names[0] ?? "");
}

const firstSentence = (text = ""): string => text.split(/[:.](\s|$)/)[0] ?? "";
