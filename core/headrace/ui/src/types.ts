// What the API answers. Only what the pages read is named.
export type PartKind = "sources" | "connectors" | "rules" | "sinks";
export type State = "connecting" | "running" | "degraded" | "stopped" | "disabled";

export interface Part {
  state: State;
  reason: string;
  since: number;
  last_error: string | null;
  last_error_at: number | null;
  errors: Trouble[];
  counters: Record<string, number>;
  /** When events last came, in seconds. */
  last_event_at?: number | null;
  flow?: { circuit?: string; next_try?: number | null; limit?: number };
  rates?: Record<string, number>;
  histograms?: Record<"latency" | "end_to_end", { count: number; p50: number | null; p90: number | null; p99: number | null }>;
}

/** Errors with one reason; status and said are those of the last. */
export interface Trouble {
  reason: string;
  count: number;
  first: number;
  last: number;
  status: number | null;
  said: string;
}

export interface Status {
  name: string;
  state: State;
  reason: string;
  since: number;
  config?: { generation: number; since: number; error: string | null; error_at: number | null };
  sources: Record<string, Part>;
  connectors: Record<string, Part>;
  rules: Record<string, Part>;
  sinks: Record<string, Part>;
  stream: {
    topics: Record<string, { unsettled: number; bytes: number; max_bytes: number; oldest: number | null; corrupt: number }>; // oldest: ms
    dead_letters: Record<string, number>;
    orphans: Record<string, { events: number; bytes: number }>;
    blocked_by: string | null;
  };
}

export type Value = string | number | boolean | null | Value[] | { [key: string]: Value };
export type Options = { [key: string]: Value };

/** A JSON Schema, as far as the forms read it. */
export interface Schema {
  $ref?: string;
  $defs?: Record<string, Schema>;
  type?: string | string[];
  title?: string;
  description?: string;
  default?: Value;
  const?: Value;
  enum?: Value[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  properties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  required?: string[];
  items?: Schema;
  format?: string;
  writeOnly?: boolean;
  "x-unit"?: string;
}
