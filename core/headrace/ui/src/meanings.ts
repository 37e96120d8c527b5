// What each number means, for those who point at it. Counters tell it themselves: the API has a sentence for each.
// What the pages compute of them is told here.
import { effect, signal } from "@preact/signals";
import { counters, signedOut } from "./api";
import { generation } from "./live";
import type { PartKind } from "./types";

const texts = signal<Record<string, Record<string, string>>>({});

effect(() => {
  void generation.value;
  if (!signedOut.value) void counters().then((found) => (texts.value = found), () => undefined);
});

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** What a counter counts. */
export function meaning(kind: PartKind, counter: string): string {
  return sentence(texts.value[kind]?.[counter] ?? counter);
}

/** The same for its rate. */
export const perSecondOf = (kind: PartKind, counter: string): string => `${meaning(kind, counter)}: so many a second, over the last five seconds`;

/** Of numbers that are made of several counters. */
export const DERIVED = {
  received: "Events that all sources together have read",
  matched: "Events that the FROM clauses of all rules selected, once for each rule",
  delivered: "Events whose delivery was confirmed, of all sinks together",
  waiting: "Events that wait for a first attempt, or were attempted and are not settled, now",
  failed: "Events given up by all sinks together; by default they are dead letters",
  dropped: "Events not sent: too old, no room in the buffer, or the connector disabled",
  emptyIn: "Until nothing waits, if all goes on as in the last five seconds",
  answer: "From the beginning of an attempt to its answer: half of them took less, since the start",
  endToEnd: "From the making of an event to its delivery: half of them took less, since the start",
  lastEvent: "How long ago an event last came, to a second",
  lastFive: "Events matched a second, over the last five minutes",
  highest: "The most events matched a second, over ten seconds, since the start",
  held: "Dead letters that are kept now",
  count: "How often it came, since the start or since the counters were reset",
  attempt: "Which attempt of the event it was",
  took: "From the beginning of the attempt to its answer",
  status: "The HTTP status that the peer answered with",
  attempts: "Attempts made before the event was given up",
  granted: "The QoS at which the broker sends, as it granted it",
  asked: "The QoS that was asked for",
  orphan: "Events that wait for a sink that is gone, and their bytes",
};
