// The delivery log: what became of a sink's last attempts, and what the peer answered.
import type { JSX } from "preact";
import { deliveries, type Delivery } from "../api";
import { part } from "../live";
import { DERIVED } from "../meanings";
import { Ago, Card, Empty, Notice, number, span, useLoad } from "../parts";
import { route, setQuery } from "../route";

export function Deliveries({ name }: { name: string }): JSX.Element {
  const failures = route.value.query.get("failures") === "1";
  const attempts = part("sinks", name)?.counters["attempts"] ?? 0;
  const found = useLoad(() => deliveries(name, failures), `${name} ${failures} ${attempts}`);
  const rows = [...(found.value ?? [])].reverse();
  return (
    <Card>
      <div class="filter">
        <label class="inline"><input type="checkbox" checked={failures} onChange={(event) => setQuery({ tab: "deliveries", failures: event.currentTarget.checked ? "1" : "" })} /> Failures only</label>
        <p class="hint">The last hundred failures, and of the successes a sample. {answers(rows)}</p>
      </div>
      {found.error && <Notice>{found.error}</Notice>}
      {found.value && rows.length === 0 && <Empty title={failures ? "No attempt has failed" : "No attempt yet"} />}
      {rows.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label="Delivery log">
          <table>
            <thead><tr><th scope="col">When</th><th scope="col">Outcome</th><th scope="col" class="num" title={DERIVED.status}>Status</th><th scope="col" class="num" title={DERIVED.attempt}>Attempt</th><th scope="col" class="num" title={DERIVED.took}>Took</th><th scope="col">What the peer said, or what went wrong</th><th scope="col">Event</th></tr></thead>
            <tbody>
              {rows.map((each) => (
                <tr key={`${each.at} ${each.event} ${each.attempt}`} data-outcome={each.outcome}>
                  <td><Ago at={each.at} /></td>
                  <td><span class={each.outcome === "delivered" ? "ok" : "error"}>{each.outcome}</span></td>
                  <td class="num" title={DERIVED.status}>{each.status ?? "–"}</td>
                  <td class="num" title={DERIVED.attempt}>{number(each.attempt)}</td>
                  <td class="num" title={DERIVED.took}>{span(each.seconds)}</td>
                  <td><span class="excerpt">{each.excerpt || "–"}</span></td>
                  <td><code title={each.event}>…{each.event.slice(-8)}</code></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}

/** How often each status came, the most frequent first. */
function answers(rows: Delivery[]): string {
  const counts = new Map<number, number>();
  for (const { status } of rows) if (status !== null) counts.set(status, (counts.get(status) ?? 0) + 1);
  const told = [...counts].sort((a, b) => b[1] - a[1]).map(([status, n]) => `${status}: ${n}`);
  return told.length > 0 ? `Among them ${told.join(", ")}.` : "";
}
