// One source, connector or sink: its state and counters now, its options to edit.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { onePart, start } from "../api";
import { look, part, rate, status } from "../live";
import { Act, Ago, Card, Chip, Empty, Notice, Page, Tabs, number, perSecond, size, span, useLoad } from "../parts";
import { ONE, PartForm, READ_ONLY, without } from "../partform";
import { go, href, route, setQuery } from "../route";
import type { Options, Part, PartKind } from "../types";
import { mayAct } from "../who";

type Tab = "numbers" | "settings";

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
  return (
    <Page
      title={name}
      lead={<><a href={href(kind)}>{ONE[kind]}</a> · <Chip state={now?.state} why={now?.reason} /> since <Ago at={now?.since} /></>}
      actions={mayAct.value && <Act failed={setError} run={() => start(kind, name).then(look)}>Reconnect</Act>}
    >
      {error && <Notice>{error}</Notice>}
      {now?.reason && now.state !== "running" && <Notice kind={now.state === "disabled" ? "warn" : "error"}>{now.reason}</Notice>}
      <Tabs<Tab> label={name} tabs={{ numbers: "Numbers", settings: "Settings" }} now={tab} choose={(next) => setQuery(next === "numbers" ? {} : { tab: next })} />
      {tab === "numbers" ? now && <Numbers kind={kind} name={name} now={now} /> : <Settings kind={kind} name={name} />}
    </Page>
  );
}

function Numbers({ kind, name, now }: { kind: PartKind; name: string; now: Part }): JSX.Element {
  const topic = kind === "sinks" ? status.value?.stream.topics[`sink.${name}`] : undefined;
  const main = kind === "sinks" ? "success" : "received";
  return (
    <>
      {now.last_error && <Card title="Last error"><p class="error">{now.last_error} <small>(<Ago at={now.last_error_at} />)</small></p></Card>}
      {kind === "sinks" && (
        <div class="cards">
          <section class="card figure"><h2>In</h2><p class="value">{perSecond(rate(kind, name, "matched"))}</p></section>
          <section class="card figure"><h2>Out</h2><p class="value">{perSecond(rate(kind, name, "success"))}</p></section>
          <section class="card figure"><h2>Buffer</h2><p class="value">{size(topic?.bytes ?? 0)}</p><p class="hint">{number(topic?.unsettled ?? 0)} events</p></section>
          <section class="card figure"><h2>Oldest</h2><p class="value">{topic?.oldest ? span(Math.max(0, Date.now() / 1000 - topic.oldest)) : "–"}</p></section>
          <section class="card figure"><h2>Empty in</h2><p class="value">{drained(topic?.unsettled ?? 0, rate(kind, name, "success") - rate(kind, name, "matched"))}</p></section>
        </div>
      )}
      {now.flow?.next_try && <Notice kind="warn">The circuit is {now.flow.circuit}; next try in {span(Math.max(0, now.flow.next_try - Date.now() / 1000))}.</Notice>}
      <Card title="Counters">
        <div class="scroll" tabIndex={0} role="region" aria-label="Counters">
          <table class="counters">
            <thead><tr><th scope="col">Counter</th><th scope="col" class="num">Since the start</th><th scope="col" class="num">Per second</th></tr></thead>
            <tbody>
              {Object.entries(now.counters).filter(([key, value]) => value !== 0 || key === main || !key.includes(".")).map(([key, value]) => (
                <tr key={key} data-counter={key}><th scope="row">{key}</th><td class="num">{number(value)}</td><td class="num">{perSecond(rate(kind, name, key))}</td></tr>
              ))}
            </tbody>
          </table>
        </div>
      </Card>
    </>
  );
}

function drained(events: number, perSec: number): string {
  if (events === 0) return "–";
  return perSec > 0 ? span(events / perSec) : "not draining";
}

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
