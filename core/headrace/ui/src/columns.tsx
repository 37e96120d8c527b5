// The numbers that tables show of each part.
import type { ComponentChildren, JSX } from "preact";
import { rate } from "./live";
import { DERIVED, meaning, perSecondOf } from "./meanings";
import { Ago, number, perSecond, size, span } from "./parts";
import type { Part, PartKind } from "./types";

interface Column {
  head: string;
  why: () => string;
  cell: (part: Part, name: string) => ComponentChildren;
  /** Is it worth a look? */
  bad?: (part: Part) => boolean;
}

const counter = (kind: PartKind, key: string, head: string): Column => ({ head, why: () => meaning(kind, key), cell: ({ counters }) => number(counters[key]) });
const failure = (kind: PartKind, key: string, head: string): Column => ({ ...counter(kind, key, head), bad: ({ counters }) => (counters[key] ?? 0) > 0 });
const pace = (kind: PartKind, key: string): Column => ({ head: "Rate", why: () => perSecondOf(kind, key), cell: (_, name) => perSecond(rate(kind, name, key)) });
const last: Column = { head: "Last event", why: () => DERIVED.lastEvent, cell: (part) => <Ago at={part.last_event_at} /> };

export const waiting = ({ counters }: Part): number => (counters["queuing"] ?? 0) + (counters["inflight"] ?? 0);

const COLUMNS: Record<PartKind, Column[]> = {
  sources: [counter("sources", "received", "Received"), pace("sources", "received"), last, failure("sources", "rejected", "Rejected")],
  connectors: [counter("connectors", "connections", "Connections")],
  rules: [counter("rules", "matched", "Matched"), pace("rules", "matched"), last, counter("rules", "passed", "Passed"), failure("rules", "failed.exception", "Failed")],
  sinks: [
    counter("sinks", "success", "Delivered"),
    pace("sinks", "success"),
    { head: "Waiting", why: () => DERIVED.waiting, cell: (part) => number(waiting(part)) },
    { head: "Buffer", why: () => meaning("sinks", "queuing_bytes"), cell: ({ counters }) => size(counters["queuing_bytes"] ?? 0) },
    { head: "Oldest", why: () => meaning("sinks", "queuing_age"), cell: (part) => (waiting(part) ? span(part.counters["queuing_age"] ?? 0) : "–") },
    failure("sinks", "failed", "Failed"),
    failure("sinks", "dropped", "Dropped"),
  ],
};

export function Heads({ kind }: { kind: PartKind }): JSX.Element {
  return <>{COLUMNS[kind].map(({ head, why }) => <th scope="col" class="num" title={why()} key={head}>{head}</th>)}</>;
}

export function Cells({ kind, name, part }: { kind: PartKind; name: string; part: Part }): JSX.Element {
  return (
    <>
      {COLUMNS[kind].map(({ head, why, cell, bad }) => (
        <td class={bad?.(part) ? "num bad" : "num"} data-column={head} title={why()} key={head}>{cell(part, name)}</td>
      ))}
    </>
  );
}
