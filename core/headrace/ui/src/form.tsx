// A form for a part, made from the schema that checks the configuration.
import { useId, useState } from "preact/hooks";
import type { JSX } from "preact";
import { resolve, shape } from "./schema";
import type { Options, Schema, Value } from "./types";

/** Shown without being asked for; the rest is under "More options". */
const PLAIN = new Set(["connector", "url", "listen", "method", "path", "headers", "body", "username", "password", "topics", "anonymous", "users"]);

/** What is wrong with an option, by the names that lead to it. */
export interface Wrong {
  path: string[];
  message: string;
}

interface Props {
  schema: Schema;
  root: Schema;
  value: Options;
  change: (value: Options) => void;
  skip?: Set<string>;
  choices?: Record<string, string[]>;
  wrong?: Wrong[];
  /** Inside a group that may be left out: what it requires is asked for by headrace, not by the browser. */
  inner?: boolean;
}

export function Form(props: Props): JSX.Element {
  const required = new Set(props.schema.required);
  const names = Object.keys(props.schema.properties ?? {}).filter((name) => !props.skip?.has(name));
  const plain = (name: string) => required.has(name) || PLAIN.has(name) || props.value[name] !== undefined;
  // What is shown at first stays where it is while somebody types.
  const [shown] = useState(() => new Set(names.filter(plain)));
  const more = names.filter((name) => !shown.has(name));
  const field = (name: string) => <Field key={name} name={name} {...props} needed={required.has(name)} />;
  return (
    <div class="fields">
      {names.filter((name) => shown.has(name)).map(field)}
      {more.length > 0 && (
        <details class="more">
          <summary>More options ({more.length})</summary>
          <div class="fields">{more.map(field)}</div>
        </details>
      )}
    </div>
  );
}

function Field(props: Props & { name: string; needed: boolean }): JSX.Element {
  const { name, root, value } = props;
  const id = useId();
  const given = resolve(props.schema.properties?.[name] ?? {}, root);
  const set = (next: Value | undefined) => {
    const { [name]: _, ...rest } = value;
    props.change(next === undefined ? rest : { ...rest, [name]: next });
  };
  const faults = (props.wrong ?? []).filter((each) => each.path[0] === name);
  const kind = shape(name, given, root);
  if (kind.is === "group") {
    const inner = value[name];
    return (
      <details class="group" open={faults.length > 0 || undefined}>
        <summary>{name}</summary>
        <p class="hint">{given.description}</p>
        {faults.filter((each) => each.path.length === 1).map((each) => <p class="problem">{each.message}</p>)}
        <Form {...props} wrong={faults.map((each) => ({ ...each, path: each.path.slice(1) }))} inner schema={kind.schema} value={isOptions(inner) ? inner : {}} change={(next) => set(Object.keys(next).length ? next : undefined)} />
      </details>
    );
  }
  return (
    <div class={`field ${faults.length > 0 ? "wrong" : ""}`}>
      <label for={id}>
        {name}
        {props.needed && <span class="needed"> required</span>}
      </label>
      <Input {...props} id={id} given={given} set={set} />
      {given.description && (
        <p class="hint" id={`${id}h`}>
          {given.description}
        </p>
      )}
      {faults.map((each) => <p class="problem">{each.message}</p>)}
    </div>
  );
}

const isOptions = (value: Value | undefined): value is Options => typeof value === "object" && value !== null && !Array.isArray(value);

function Input(props: Props & { name: string; id: string; given: Schema; needed: boolean; set: (value: Value | undefined) => void }): JSX.Element {
  const { name, id, given, set } = props;
  const now = props.value[name];
  const kind = shape(name, given, props.root);
  const common = { id, "aria-describedby": given.description ? `${id}h` : undefined, required: props.needed && !props.inner };
  const normal = given.default === undefined || given.default === null ? "" : asText(given.default);
  const offered = props.choices?.[name] ?? (kind.is === "choice" ? kind.choices.map(String) : undefined);
  if (offered) {
    return (
      <select {...common} value={now === undefined ? "" : String(now)} onChange={(event) => set(event.currentTarget.value || undefined)}>
        <option value="">{normal ? `${normal} (default)` : "–"}</option>
        {offered.filter((each) => each !== normal).map((each) => (
          <option key={each} value={each}>
            {each}
          </option>
        ))}
      </select>
    );
  }
  if (kind.is === "flag") {
    return <input {...common} type="checkbox" required={false} checked={Boolean(now ?? given.default)} onChange={(event) => set(event.currentTarget.checked)} />;
  }
  if (kind.is === "secret" && isRows(given, props.root)) return <Rows id={id} value={isOptions(now) ? now : {}} set={set} label={name} />;
  if (kind.is === "rows") return <Rows id={id} value={isOptions(now) ? now : {}} set={set} label={name} />;
  if (kind.is === "long" || kind.is === "json") {
    return (
      <textarea
        {...common}
        rows={kind.is === "long" ? 4 : 2}
        spellcheck={false}
        placeholder={normal}
        value={now === undefined ? "" : asText(now)}
        onChange={(event) => set(kind.is === "json" ? fromText(event.currentTarget.value) : event.currentTarget.value || undefined)}
      />
    );
  }
  if (kind.is === "lines") {
    const list = Array.isArray(now) ? now : now === undefined ? [] : [now];
    return (
      <input
        {...common}
        type="text"
        placeholder={normal}
        value={list.map(asText).join(", ")}
        onChange={(event) => {
          const parts = event.currentTarget.value.split(",").map((each) => each.trim()).filter(Boolean);
          set(parts.length ? parts.map((each) => fromText(each) ?? each) : undefined);
        }}
      />
    );
  }
  const text = {
    ...common,
    autocomplete: "off",
    spellcheck: false,
    placeholder: normal || asText(exampleOf(given)),
    value: now === undefined || now === null ? "" : String(now),
    onInput: (event: { currentTarget: HTMLInputElement }) => {
      const typed = event.currentTarget.value;
      set(typed === "" ? undefined : kind.is === "number" && typed.trim() !== "" && !Number.isNaN(Number(typed)) ? Number(typed) : typed);
    },
  };
  return kind.is === "secret" ? <input {...text} type="password" /> : <input {...text} type="text" />;
}

function isRows(given: Schema, root: Schema): boolean {
  return [given, ...(given.anyOf ?? [])].map((each) => resolve(each, root)).some((each) => each.type === "object");
}

const exampleOf = (given: Schema): Value => (given as { examples?: Value[] }).examples?.[0] ?? "";
const asText = (value: Value): string =>
  typeof value === "string" ? value : Array.isArray(value) ? value.map(asText).join(", ") : JSON.stringify(value);

function fromText(text: string): Value | undefined {
  if (!text.trim()) return undefined;
  try {
    return JSON.parse(text) as Value;
  } catch {
    return text;
  }
}

/** Names with values, such as headers. */
function Rows(props: { id: string; label: string; value: Options; set: (value: Options | undefined) => void }): JSX.Element {
  const [rows, setRows] = useState<[string, string][]>(() => Object.entries(props.value).map(([key, each]) => [key, asText(each)]));
  const update = (next: [string, string][]) => {
    setRows(next);
    const filled = next.filter(([key]) => key);
    props.set(filled.length ? Object.fromEntries(filled) : undefined);
  };
  return (
    <div class="rows" id={props.id}>
      {rows.map(([key, value], index) => (
        <div class="row" key={index}>
          <input type="text" aria-label={`${props.label}: name ${index + 1}`} placeholder="name" value={key} onInput={(event) => update(rows.with(index, [event.currentTarget.value, value]))} />
          <input type="text" aria-label={`${props.label}: value ${index + 1}`} placeholder="value" value={value} onInput={(event) => update(rows.with(index, [key, event.currentTarget.value]))} />
          <button type="button" class="quiet" aria-label={`Remove ${key || "row"}`} onClick={() => update(rows.toSpliced(index, 1))}>
            ✕
          </button>
        </div>
      ))}
      <button type="button" class="quiet" onClick={() => setRows([...rows, ["", ""]])}>
        + Add
      </button>
    </div>
  );
}
