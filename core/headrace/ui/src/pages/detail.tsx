// One source, connector or sink: its state and counters now, its options to edit.
import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { enable, facts, onePart, resetCounters, start, type Subscription } from "../api";
import { waiting } from "../columns";
import { Counters } from "../counters";
import { Errors } from "../errors";
import { look, part, rate, status } from "../live";
import { DERIVED, meaning, perSecondOf } from "../meanings";
import { Act, Ago, Card, Chip, Empty, Notice, Page, Switch, Tabs, number, perSecond, size, span, useLoad } from "../parts";
import { ONE, PartForm, READ_ONLY, without } from "../partform";
import { Rates } from "../past";
import { go, href, route, setQuery } from "../route";
import type { Options, Part, PartKind } from "../types";
import { mayAct, mayChange } from "../who";
import { Deliveries } from "./deliveries";

type Tab = "numbers" | "deliveries" | "settings";

export function PartDetail({ kind, name }: { kind: PartKind; name: string }): JSX.Element {
  const [error, setError] = useState("");
  const now = part(kind, name);
  const tab = (route.value.query.get("tab") ?? "numbers") as Tab;
  if (status.value && !now)
    return (
      <Page title={name}>
        <Empty title={`There is no ${ONE[kind]} ${name}`}><a href={href(kind)}>All {kind}</a></Empty>
      </Page>
    );
  const on = now?.state !== "disabled";
  const tabs = { numbers: "Numbers", ...(kind === "sinks" ? { deliveries: "Delivery log" } : {}), settings: "Settings" } as Record<Tab, string>;
  return (
    <Page
      title={name}
      lead={<><a href={href(kind)}>{ONE[kind]}</a> · <Chip part={now} /> since <Ago at={now?.since} /></>}
      actions={
        <>
          {mayChange.value && <label class="inline"><Switch on={on} label={`${name} enabled`} change={(next) => void enable(kind, name, next).then(look, (failure: Error) => setError(failure.message))} /> enabled</label>}
          {kind !== "connectors" && <a class="button" href={href("tap", "", { node: `${ONE[kind]}:${name}` })}>Tap</a>}
          {mayAct.value && kind !== "connectors" && <Act title="Count from zero on" failed={setError} run={() => resetCounters(kind, name).then(look)}>Reset counters</Act>}
          {mayAct.value && <Act title="Close the connection and open it anew" disabled={!on} failed={setError} run={() => start(kind, name).then(look)}>Reconnect</Act>}
        </>
      }
    >
      {error && <Notice>{error}</Notice>}
      {now?.reason && now.state !== "running" && <Notice kind={now.state === "disabled" ? "warn" : "error"}>{now.reason}</Notice>}
      <Tabs<Tab> label={name} tabs={tabs} now={tab} choose={(next) => setQuery(next === "numbers" ? {} : { tab: next })} />
      {tab === "settings" ? <Settings kind={kind} name={name} /> : tab === "deliveries" ? <Deliveries name={name} /> : now && <Numbers kind={kind} name={name} now={now} />}
    </Page>
  );
}

function Numbers({ kind, name, now }: { kind: PartKind; name: string; now: Part }): JSX.Element {
  return (
    <>
      {now.reason && now.state === "running" && <p class="hint">{now.reason}</p>}
      {now.flow?.next_try && <Notice kind="warn">Nothing is sent for a moment, since nothing got through; next try in {span(Math.max(0, now.flow.next_try - Date.now() / 1000))}.</Notice>}
      {kind === "sinks" && <Figures name={name} now={now} />}
      {kind === "sources" && <Comes name={name} now={now} />}
      <Errors errors={now.errors} />
      {kind !== "connectors" && now.state !== "disabled" && <Rates kind={kind} name={name} />}
      {kind === "sources" && <Subscriptions name={name} now={now} />}
      <Counters kind={kind} name={name} now={now} />
    </>
  );
}

/** Of a source: what comes, and when something last did. */
function Comes({ name, now }: { name: string; now: Part }): JSX.Element {
  const { counters } = now;
  return (
    <div class="cards">
      <Figure title="Received" why={meaning("sources", "received")} value={number(counters["received"])} />
      <Figure title="Rate" why={perSecondOf("sources", "received")} value={perSecond(rate("sources", name, "received"))} />
      <Figure title="Last event" why={DERIVED.lastEvent} value={<Ago at={now.last_event_at} />} hint={now.last_event_at ? "" : "none since the start"} />
      <Figure title="Pending" why={meaning("sources", "pending")} value={number(counters["pending"])} />
      <Figure title="Rejected" why={meaning("sources", "rejected")} value={number(counters["rejected"])} bad={(counters["rejected"] ?? 0) > 0} />
    </div>
  );
}

/** Of a source at a broker: what it subscribed to, and what it was granted. */
function Subscriptions({ name, now }: { name: string; now: Part }): JSX.Element | null {
  const found = useLoad(() => facts("sources", name), `${name} ${now.state} ${now.since} ${now.reason} ${now.last_error_at}`);
  const rows = found.value?.subscriptions;
  if (!rows) return null;
  return (
    <Card title="Subscriptions">
      {rows.length === 0 ? <Empty title="No subscriptions">No rule reads from this source.</Empty> : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Subscriptions">
          <table>
            <thead><tr><th scope="col">Topic filter</th><th scope="col" class="num" title={DERIVED.asked}>QoS asked</th><th scope="col" class="num" title={DERIVED.granted}>QoS granted</th><th scope="col">What the broker said</th></tr></thead>
            <tbody>
              {rows.map((each) => (
                <tr key={each.filter} data-filter={each.filter}>
                  <th scope="row"><code>{each.filter}</code></th>
                  <td class="num" title={DERIVED.asked}>{each.asked}</td>
                  <td class={each.granted === each.asked ? "num" : "num bad"} title={DERIVED.granted}>{each.granted ?? "–"}</td>
                  <td>{told(each)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}

function told({ asked, granted, refused }: Subscription): JSX.Element {
  if (refused) return <span class="error">refused: {refused}</span>;
  if (granted === null) return <span class="hint">kept in the session, as it was granted then</span>;
  return granted < asked ? <span class="error">less than was asked for</span> : <span class="ok">granted</span>;
}

/** Of a sink: what comes, what goes, what waits, and how long it takes. */
function Figures({ name, now }: { name: string; now: Part }): JSX.Element {
  const { counters, histograms } = now;
  const waits = waiting(now);
  const [comes, goes] = [rate("sinks", name, "matched"), rate("sinks", name, "success")];
  return (
    <div class="cards">
      <Figure title="In" why={perSecondOf("sinks", "matched")} value={perSecond(comes)} />
      <Figure title="Out" why={perSecondOf("sinks", "success")} value={perSecond(goes)} />
      <Figure title="Buffer" why={meaning("sinks", "queuing_bytes")} value={size(counters["queuing_bytes"] ?? 0)} hint={`${number(waits)} events`} />
      <Figure title="Oldest" why={meaning("sinks", "queuing_age")} value={waits ? span(counters["queuing_age"] ?? 0) : "–"} />
      <Figure title="Empty in" why={DERIVED.emptyIn} value={waits > 0 && goes > comes ? span(waits / (goes - comes)) : "–"} hint={waits > 0 && goes <= comes ? "not draining" : ""} />
      <Figure title="Answer" why={DERIVED.answer} value={took(histograms?.latency.p50)} hint={`99 %: ${took(histograms?.latency.p99)}`} />
      <Figure title="End to end" why={DERIVED.endToEnd} value={took(histograms?.end_to_end.p50)} hint={`99 %: ${took(histograms?.end_to_end.p99)}`} />
    </div>
  );
}

function Figure(props: { title: string; why: string; value: ComponentChildren; hint?: string; bad?: boolean }): JSX.Element {
  return (
    <section class="card figure" title={props.why}>
      <h2>{props.title}</h2>
      <p class={props.bad ? "value bad" : "value"}>{props.value}</p>
      <p class="hint">{props.hint || "\u00a0"}</p>
    </section>
  );
}

const took = (seconds: number | null | undefined): string => (typeof seconds === "number" ? span(seconds) : "–");

function Settings({ kind, name }: { kind: PartKind; name: string }): JSX.Element {
  const loaded = useLoad<Options>(() => onePart(kind, name), name);
  if (loaded.error) return <Notice>{loaded.error}</Notice>;
  if (!loaded.value) return <p class="hint">Loading…</p>;
  const options = without(loaded.value, ["name", ...READ_ONLY]);
  return (
    <Card>
      <p class="hint">Saving changes the configuration file and goes on with it at once; nothing else is restarted. Secrets are shown as ******, and stay what they are.</p>
      <PartForm kind={kind} name={name} initial={options} cancel={() => go(kind, name)} saved={() => setQuery({})} />
    </Card>
  );
}
