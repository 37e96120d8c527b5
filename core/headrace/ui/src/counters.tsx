// All counters of a part, each with what it counts.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { rate } from "./live";
import { meaning, perSecondOf } from "./meanings";
import { Card, number, perSecond, size, span } from "./parts";
import type { Part, PartKind } from "./types";

const GAUGES = /^(pending|connections|queuing|inflight|queuing_bytes|queuing_age|requests\.now)$/;

export function Counters({ kind, name, now }: { kind: PartKind; name: string; now: Part }): JSX.Element {
  const [all, setAll] = useState(false);
  const rows = Object.entries(now.counters).filter(([key, value]) => all || value !== 0 || !key.includes("."));
  const hidden = Object.keys(now.counters).length - rows.length;
  return (
    <Card title="Counters" actions={(all || hidden > 0) && <button type="button" class="quiet" aria-pressed={all} onClick={() => setAll(!all)}>{all ? "Hide parts that are 0" : `Show ${hidden} more that are 0`}</button>}>
      <div class="scroll" tabIndex={0} role="region" aria-label="Counters">
        <table class="counters">
          <thead><tr><th scope="col">Counter</th><th scope="col" class="num">Now</th><th scope="col" class="num">Per second</th></tr></thead>
          <tbody>
            {rows.map(([key, value]) => (
              <tr key={key} data-counter={key} class={value === 0 ? "none" : ""}>
                <th scope="row">{meaning(kind, key)} <code class="hint">{key}</code></th>
                <td class="num" title={meaning(kind, key)}>{key === "queuing_bytes" ? size(value) : key === "queuing_age" ? (value ? span(value) : "–") : number(value)}</td>
                <td class="num" title={GAUGES.test(key) ? undefined : perSecondOf(kind, key)}>{GAUGES.test(key) ? "" : perSecond(rate(kind, name, key))}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Card>
  );
}
