// The status document, asked for once a second, and the rates that follow from it.
import { computed, effect, signal } from "@preact/signals";
import { ApiError, history as past, signedOut, status as ask } from "./api";
import type { Part, PartKind, Status } from "./types";

const EVERY = 1000; // ms between two looks
const WINDOW = 5; // looks that a rate is taken over
const KEPT = 300; // points of the charts: five minutes

export const status = signal<Status | null>(null);
/** Why there are no live numbers, if there are none. */
export const trouble = signal("");
/** A new configuration may have other parts. */
export const generation = computed(() => status.value?.config?.generation);
/** Per second, of all together. */
export const history = signal<{ at: number[]; received: number[]; success: number[]; failed: number[] }>({ at: [], received: [], success: [], failed: [] });

interface Look {
  at: number;
  document: Status;
}
let looks: Look[] = [];
let timer = 0;

export function part(kind: PartKind, name: string): Part | undefined {
  return status.value?.[kind]?.[name];
}

/** Of one counter, per second; 0 until two looks are there. */
export function rate(kind: PartKind, name: string, counter: string): number {
  void status.value;
  const first = looks[0];
  const last = looks[looks.length - 1];
  const before = first?.document[kind]?.[name]?.counters[counter];
  const now = last?.document[kind]?.[name]?.counters[counter];
  if (first === undefined || last === undefined || before === undefined || now === undefined || last.at === first.at) return 0;
  return Math.max(0, ((now - before) * 1000) / (last.at - first.at));
}

export function total(kind: PartKind, counter: string, from: Status | null = status.value): number {
  return Object.values(from?.[kind] ?? {}).reduce((sum, each) => sum + (each.counters[counter] ?? 0), 0);
}

export function totalRate(kind: PartKind, counter: string): number {
  return Object.keys(status.value?.[kind] ?? {}).reduce((sum, name) => sum + rate(kind, name, counter), 0);
}

/** Ask now: after a change, nobody wants to wait for the next second. */
export async function look(): Promise<void> {
  clearTimeout(timer);
  try {
    if (looks.length === 0) await remember();
    const document = await ask();
    looks = [...looks, { at: Date.now(), document }].slice(-WINDOW - 1);
    status.value = document;
    trouble.value = "";
    if (looks.length > 1) draw();
  } catch (error) {
    trouble.value = error instanceof ApiError ? error.message : "headrace does not answer";
  }
  clearTimeout(timer);
  if (!signedOut.value && document.visibilityState === "visible") timer = window.setTimeout(look, EVERY);
}

function draw(): void {
  const add = (points: number[], value: number): number[] => [...points, value].slice(-KEPT);
  const before = history.value;
  history.value = {
    at: add(before.at, Date.now() / 1000),
    received: add(before.received, totalRate("sources", "received")),
    success: add(before.success, totalRate("sinks", "success")),
    failed: add(before.failed, totalRate("sinks", "failed") + totalRate("rules", "failed.exception")),
  };
}

/** The last five minutes before somebody looked, as the server remembers them. */
async function remember(): Promise<void> {
  const { seconds, until, rates } = await past("1h");
  const last = (name: string): number[] => (rates[name] ?? []).slice(-KEPT / seconds);
  const [received, success, failed] = [last("received"), last("success"), last("failed")];
  history.value = { at: received.map((_, index) => until - (received.length - 1 - index) * seconds), received, success, failed };
}

document.addEventListener("visibilitychange", () => void look());
effect(() => {
  if (!signedOut.value) void look();
});
