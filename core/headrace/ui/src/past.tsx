// Rates of the last hour and of the last day, as the server remembers them; of all together also those of now.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { history as ask, type Past } from "./api";
import { Chart, type Line } from "./chart";
import { history } from "./live";
import { Card, Empty, perSecond, told } from "./parts";
import { route, setQuery } from "./route";
import type { PartKind } from "./types";

const SHOWN = { "5m": 300, "1h": 3600, "24h": 86400 } as const;
type Span = keyof typeof SHOWN;
const TOLD: Record<Span, string> = { "5m": "5 min", "1h": "1 hour", "24h": "24 hours" };
const LINES: Record<string, [string, string]> = {
  received: ["received", "--series-1"],
  matched: ["matched", "--series-1"],
  passed: ["passed", "--series-2"],
  success: ["delivered", "--series-2"],
  failed: ["failed", "--series-3"],
};
const FIRST = { 10: "ten seconds", 300: "five minutes" } as Record<number, string>;

/** A chart of one part, or of all together. */
export function Rates({ kind, name }: { kind?: PartKind; name?: string }): JSX.Element {
  const spans: Span[] = kind ? ["1h", "24h"] : ["5m", "1h", "24h"];
  const asked = route.value.query.get("span") as Span;
  const span = spans.includes(asked) ? asked : (spans[0] as Span);
  const choose = (next: Span) => setQuery({ ...Object.fromEntries(route.value.query), span: next === spans[0] ? "" : next });
  return (
    <Card
      title="Events per second"
      actions={
        <div class="segments" role="group" aria-label="How far back">
          {spans.map((each) => <button type="button" key={each} aria-pressed={each === span} onClick={() => choose(each)}>{TOLD[each]}</button>)}
        </div>
      }
    >
      {span === "5m" ? <Now /> : <Before key={`${kind} ${name} ${span}`} span={span} {...(kind && name ? { kind, name } : {})} />}
    </Card>
  );
}

function Now(): JSX.Element {
  const { at, received, success, failed } = history.value;
  return <Drawn at={at} rates={{ received, success, failed }} span="5m" />;
}

function Before({ kind, name, span }: { kind?: PartKind; name?: string; span: "1h" | "24h" }): JSX.Element {
  const [found, setFound] = useState<Past | null>(null);
  const [error, setError] = useState("");
  useEffect(() => {
    const load = () => void ask(span, kind, name).then((past) => { setFound(past); setError(""); }, (failure: unknown) => setError(told(failure)));
    load();
    const timer = setInterval(load, 10_000);
    return () => clearInterval(timer);
  }, []);
  if (error) return <p class="hint">{error}</p>;
  if (!found) return <p class="hint">Loading…</p>;
  const { matched, ...others } = found.rates;
  const rates = kind || !matched ? found.rates : others; // of all together, one line of what comes is enough
  const n = Object.values(rates)[0]?.length ?? 0;
  if (n === 0) return <Empty title="Nothing to draw yet">The first point comes after {FIRST[found.seconds]}.</Empty>;
  const at = Array.from({ length: n }, (_, index) => found.until - (n - 1 - index) * found.seconds);
  return <Drawn at={at} rates={rates} span={span} />;
}

function Drawn({ at, rates, span }: { at: number[]; rates: Record<string, number[]>; span: Span }): JSX.Element {
  const lines = Object.entries(rates).map(([key, points]): Line => {
    const [label, colour] = LINES[key] ?? [key, "--series-1"];
    return { label, colour, points };
  });
  const now = lines.map((each) => `${perSecond(each.points.at(-1) ?? 0)} ${each.label}`).join(", ");
  return <Chart key={span} at={at} shown={SHOWN[span]} lines={lines} label={`Events per second: ${now}`} />;
}
