// The management API. Every address the dashboard uses is here.
import { signal } from "@preact/signals";
import type { Options, PartKind, Status, Value } from "./types";

/** The API wants to know who this is. */
export const signedOut = signal(false);

/** A fault of a configuration file. */
export interface Fault {
  message: string;
  file: string;
  line: number;
  column: number;
}

/** One stage of a test of a connection. */
export interface Step {
  name: string;
  ok: boolean;
  detail: string;
  seconds: number;
}

/** What stands beside code and message of a refusal, if it says so. */
interface More {
  path?: string;
  line?: number;
  column?: number;
  problems?: Fault[];
  steps?: Step[];
  request?: Options;
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly more: More = {},
  ) {
    super(message);
  }
}

const BASE = new URL("api/v1/", document.baseURI);

/** Ask the API. ApiError says what it refuses, in its own words. */
export async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer: Response;
  try {
    answer = await fetch(new URL(path, BASE), {
      method,
      headers,
      credentials: "same-origin",
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch {
    throw new ApiError(0, "UNREACHABLE", "headrace does not answer: is it running?");
  }
  const text = await answer.text();
  const document = parsed(text, answer.headers.get("Content-Type") ?? "");
  if (answer.ok) return document as T;
  if (answer.status === 401) signedOut.value = true;
  throw refusal(answer.status, document);
}

function parsed(text: string, type: string): unknown {
  if (!text) return null;
  if (!type.includes("json")) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function refusal(status: number, document: unknown): ApiError {
  if (typeof document !== "object" || document === null) {
    const offered = status === 404 || status === 405 ? "The API of this headrace does not offer that." : String(document || `HTTP ${status}`);
    return new ApiError(status, "", offered);
  }
  const { code = "", message = "", ...more } = document as { code?: string; message?: string } & More;
  return new ApiError(status, code, message, more);
}

const at = (kind: PartKind, name: string, more = ""): string => `${kind}/${encodeURIComponent(name)}${more}`;

export const status = (): Promise<Status> => request("GET", "status");
export const parts = (kind: PartKind): Promise<Options[]> => request("GET", kind);
export const onePart = (kind: PartKind, name: string): Promise<Options> => request("GET", at(kind, name));
export const create = (kind: PartKind, options: Options): Promise<Options> => request("POST", kind, options);
export const update = (kind: PartKind, name: string, options: Options): Promise<Options> =>
  request("PUT", at(kind, name), options);
export const remove = (kind: PartKind, name: string): Promise<void> => request("DELETE", at(kind, name));
export const enable = (kind: PartKind, name: string, on: boolean): Promise<void> =>
  request("PUT", at(kind, name, `/enable/${on}`));
export const start = (kind: PartKind, name: string): Promise<void> => request("POST", at(kind, name, "/start"));
export const resetCounters = (kind: PartKind, name: string): Promise<void> => request("PUT", at(kind, name, "/metrics/reset"));
export const test = (kind: PartKind, options: Options): Promise<{ steps?: Step[]; request?: Options }> => request("POST", `${kind}/test`, options);

/** What a query makes of an event; without one, only what it reads. */
export interface Tried {
  rows: Options[];
  explanation: string[];
  inputs: { topics: string[]; events: string[] };
}
export const testSql = (sql: string, context?: Options): Promise<Tried> => request("POST", "rules/test", { sql, ...(context ? { context } : {}) });

/** What the rule that runs would do with an event; for each row, what its sinks would send. */
export interface Explained {
  seen: boolean;
  lines: string[];
  rows: Options[];
  sends: { sink: string; type: string; request: Options; error: string }[][];
}
export const explain = (rule: string, context: Options): Promise<Explained> => request("POST", at("rules", rule, "/explain"), { context });

/** One attempt of a sink. */
export interface Delivery {
  at: number;
  event: string;
  attempt: number;
  outcome: string;
  status: number | null;
  seconds: number;
  excerpt: string;
}
export const deliveries = (sink: string, failures: boolean): Promise<Delivery[]> =>
  request("GET", at("sinks", sink, `/deliveries${query({ failures: failures ? "true" : "" })}`));

/** How fast counters grew, of each so many seconds; the last point was made at `until`. */
export interface Past {
  seconds: number;
  until: number;
  rates: Record<string, number[]>;
}
export const history = (span: "1h" | "24h", kind?: PartKind, name?: string): Promise<Past> =>
  request("GET", `${kind && name ? at(kind, name, "/history") : "history"}${query({ span })}`);

/** What an MQTT broker made of a subscription. */
export interface Subscription {
  filter: string;
  asked: number;
  granted: number | null;
  refused: string | null;
}
/** What a part tells of itself beside its numbers. */
export interface Facts {
  subscriptions?: Subscription[];
}
export const facts = async (kind: PartKind, name: string): Promise<Facts> => (await request<{ facts: Facts }>("GET", at(kind, name, "/status"))).facts;

/** What each counter counts, by the kind of the part that has it. */
export const counters = (): Promise<Record<string, Record<string, string>>> => request("GET", "counters");

export const purgeOrphan = (topic: string): Promise<void> => request("DELETE", `orphans/${encodeURIComponent(topic)}`);

// -- who it is -----------------------------------------------------------------------------------------------------

export interface Me {
  name: string;
  role: "viewer" | "admin";
  read_only: boolean;
  /** Nobody has to say who they are. */
  open: boolean;
}
export const whoAmI = (): Promise<Me> => request("GET", "me");
export const login = (username: string, password: string): Promise<void> => request("POST", "login", { username, password });
export const logout = (): Promise<void> => request("POST", "logout");

// -- dead letters, configuration, plugins --------------------------------------------------------------------------

export interface Letter {
  offset: number;
  at: number;
  sink: string;
  rule: string;
  key: string;
  attempts: number;
  reason: string;
  event_id: string;
  [more: string]: Value;
}

/** A letter with the request that its sink would make of it now, or why it makes none. */
export type OpenLetter = Letter & { render: Options; render_error: string };

/** Which letters: those that meet everything given. */
export type Which = { sink?: string; rule?: string; reason?: string; since?: string; id?: string };

const query = (given: Record<string, string | number | undefined>): string => {
  const filled = Object.entries(given).filter(([, value]) => value !== undefined && value !== "");
  return filled.length ? `?${new URLSearchParams(filled.map(([key, value]) => [key, String(value)]))}` : "";
};

export const letters = (which: Which, limit: number): Promise<Letter[]> => request("GET", `dead_letters${query({ ...which, limit })}`);
export const letter = (number: number): Promise<OpenLetter> => request("GET", `dead_letters/${number}`);
export const replay = (which: Which): Promise<{ replayed: number; failed: Record<string, string> }> =>
  request("POST", "dead_letters/replay", which);
/** One letter, with other columns than the rule selected if they are given. */
export const replayOne = (number: number, event?: Value): Promise<{ replayed: number; failed: Record<string, string> }> =>
  request("POST", `dead_letters/${number}/replay`, event === undefined ? {} : { event });
export const purge = (which: Which): Promise<{ purged: number }> => request("POST", "dead_letters/purge", which);

/** The files as they are, and what they mean together. */
export interface Config {
  generation: number;
  since: number;
  error: string | null;
  error_at: number | null;
  read_only: boolean;
  files: { file: string; text: string }[];
  effective: string;
}

/** What a change of the configuration does: of each kind, what is added, changed, removed. */
export interface Changed {
  generation: number;
  changed: Record<string, Record<string, string[]>>;
  warnings: string[];
}
export const config = (): Promise<Config> => request("GET", "config");
/** `base`: what was shown of the file when the text was begun. ApiError `CHANGED` if that is not the file any more. */
export const checkConfig = (file: string, text: string, base: string): Promise<Changed & { diff: string }> => request("POST", "config/check", { file, text, base });
export const saveConfig = (file: string, text: string, base: string): Promise<Changed> => request("PUT", "config", { file, text, base });
export const reloadConfig = (): Promise<Changed> => request("POST", "config/reload");

export interface Plugin {
  name: string;
  distribution: string;
  version: string;
  provides: string[];
  error: string | null;
  disabled: boolean;
}
export const plugins = (): Promise<Plugin[]> => request("GET", "plugins");

/** Events as they pass a part, such as `sink:archive`, from now on; the caller closes it. */
export function tap(node: string, topic = ""): EventSource {
  return new EventSource(new URL(`tap${query({ node, topic })}`, BASE));
}

/** What a tap shows of an event. */
export interface Tapped {
  id: string;
  source: string;
  rule: string;
  key: string;
  at: number;
  columns: Options;
}
