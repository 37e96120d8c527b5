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
  if (typeof document !== "object" || document === null) return new ApiError(status, "", String(document || `HTTP ${status}`));
  const { code = "", message = "", path = "" } = document as { code?: string; message?: unknown; path?: string };
  if (typeof message === "object" && message !== null) {
    const inner = message as { reason?: string; path?: string };
    return new ApiError(status, code, inner.reason ?? JSON.stringify(message), inner.path ?? path);
  }
  return new ApiError(status, code, String(message), path);
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
