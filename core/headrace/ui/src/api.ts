// The management API. Every address the dashboard uses is here.
import { signal } from "@preact/signals";
import type { Options, PartKind, Status, Value } from "./types";

/** The API wants to know who this is. */
export const signedOut = signal(false);

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly path: string = "",
    readonly line?: number,
    readonly column?: number,
  ) {
    super(message);
  }
}

const BASE = new URL("api/v1/", document.baseURI);
let csrf = "";

/** Ask the API. ApiError says what it refuses, in its own words. */
export async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = typeof body === "string" ? "application/yaml" : "application/json";
  if (method !== "GET" && csrf) headers["X-CSRF-Token"] = csrf;
  let answer: Response;
  try {
    answer = await fetch(new URL(path, BASE), {
      method,
      headers,
      credentials: "same-origin",
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
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
  const { code = "", message = "", path, line, column } = document as Refusal;
  const said = typeof message === "string" ? message : (message.reason ?? JSON.stringify(message));
  return new ApiError(status, code, said, path ?? (typeof message === "string" ? "" : (message.path ?? "")), line, column);
}

interface Refusal {
  code?: string;
  message?: string | { reason?: string; path?: string };
  path?: string;
  line?: number;
  column?: number;
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
export const test = (kind: PartKind, options: Options): Promise<Value> => request("POST", `${kind}/test`, options);

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

/** Which letters: those that meet everything given. */
export type Which = { sink?: string; rule?: string; reason?: string; id?: string };

const query = (given: Record<string, string | number | undefined>): string => {
  const filled = Object.entries(given).filter(([, value]) => value !== undefined && value !== "");
  return filled.length ? `?${new URLSearchParams(filled.map(([key, value]) => [key, String(value)]))}` : "";
};

export const letters = (which: Which, limit: number): Promise<Letter[]> => request("GET", `dead_letters${query({ ...which, limit })}`);
export const replay = (which: Which): Promise<{ replayed: number; failed: Record<string, string> }> =>
  request("POST", "dead_letters/replay", which);
export const purge = (which: Which): Promise<{ purged: number }> => request("POST", "dead_letters/purge", which);

export interface Plugin {
  name: string;
  distribution: string;
  version: string;
  provides: string[];
  error: string | null;
  disabled: boolean;
}
export const plugins = (): Promise<Plugin[]> => request("GET", "plugins");

/** Events as they pass a part, from now on; the caller closes it. */
export function tap(kind: PartKind, name: string, every: number): EventSource {
  return new EventSource(new URL(`tap${query({ node: `${kind.slice(0, -1)}:${name}`, sample: every })}`, BASE), { withCredentials: true });
}
