// One source, connector or sink: its state and counters now, its options to edit.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { enable, onePart, resetCounters, start } from "../api";
import { COUNTS } from "../counters";
import { look, part, rate, status } from "../live";
import { Act, Ago, Card, Chip, Empty, Notice, Page, Switch, Tabs, number, perSecond, size, span, useLoad } from "../parts";
import { ONE, PartForm, READ_ONLY, without } from "../partform";
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
      lead={<><a href={href(kind)}>{ONE[kind]}</a> · <Chip state={now?.state} why={now?.reason} /> since <Ago at={now?.since} /></>}
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
      {now.last_error && now.last_error !== now.reason && <Card title="Last error"><p class="error">{now.last_error} <small>(<Ago at={now.last_error_at} />)</small></p></Card>}
      {now.flow?.next_try && <Notice kind="warn">Nothing is sent for a moment, since nothing got through; next try in {span(Math.max(0, now.flow.next_try - Date.now() / 1000))}.</Notice>}
      {kind === "sinks" && <Figures name={name} now={now} />}
      <Card title="Counters">
        <div class="scroll" tabIndex={0} role="region" aria-label="Counters">
          <table class="counters">
            <thead><tr><th scope="col">Counter</th><th scope="col" class="num">Now</th><th scope="col" class="num">Per second</th></tr></thead>
            <tbody>
              {Object.entries(now.counters).filter(([key, value]) => value !== 0 || !key.includes(".")).map(([key, value]) => (
                <tr key={key} data-counter={key}>
                  <th scope="row">{COUNTS[key] ?? key} <code class="hint">{key}</code></th>
                  <td class="num">{key === "queuing_bytes" ? size(value) : key === "queuing_age" ? (value ? span(value) : "–") : number(value)}</td>
                  <td class="num">{GAUGES.has(key) ? "" : perSecond(rate(kind, name, key))}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </Card>
    </>
  );
}

const GAUGES = new Set(["pending", "connections", "queuing", "inflight", "queuing_bytes", "queuing_age"]);

/** Of a sink: what comes, what goes, what waits, and how long it takes. */
function Figures({ name, now }: { name: string; now: Part }): JSX.Element {
  const { counters, histograms } = now;
  const waits = (counters["queuing"] ?? 0) + (counters["inflight"] ?? 0);
  const [comes, goes] = [rate("sinks", name, "matched"), rate("sinks", name, "success")];
  return (
    <div class="cards">
      <Figure title="In" why="Events that rules gave to it, per second" value={perSecond(comes)} />
      <Figure title="Out" why="Events delivered per second" value={perSecond(goes)} />
      <Figure title="Buffer" why="Events not settled yet, and their bytes" value={size(counters["queuing_bytes"] ?? 0)} hint={`${number(waits)} events`} />
      <Figure title="Oldest" why="How long the oldest event has waited" value={waits ? span(counters["queuing_age"] ?? 0) : "–"} />
      <Figure title="Empty in" why="Until nothing waits, if all goes on as in the last five seconds" value={waits > 0 && goes > comes ? span(waits / (goes - comes)) : "–"} hint={waits > 0 && goes <= comes ? "not draining" : ""} />
      <Figure title="Answer" why="From request to answer, half of them, since the start" value={took(histograms?.latency.p50)} hint={`99 %: ${took(histograms?.latency.p99)}`} />
      <Figure title="End to end" why="From the source to the answer, half of them, since the start" value={took(histograms?.end_to_end.p50)} hint={`99 %: ${took(histograms?.end_to_end.p99)}`} />
    </div>
  );
}

function Figure(props: { title: string; why: string; value: string; hint?: string }): JSX.Element {
  return (
    <section class="card figure" title={props.why}>
      <h2>{props.title}</h2>
      <p class="value">{props.value}</p>
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
