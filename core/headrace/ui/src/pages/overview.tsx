import type { JSX } from "preact";
import { Cells, Heads } from "../columns";
import { List, type Somewhere } from "../errors";
import { status, total, totalRate } from "../live";
import { DERIVED } from "../meanings";
import { Ago, Card, Chip, Empty, Page, ails, number, perSecond, size } from "../parts";
import { Rates } from "../past";
import { href } from "../route";
import type { PartKind, Status } from "../types";

const KINDS: PartKind[] = ["sources", "rules", "sinks"];
const TITLES: Record<string, string> = { sources: "Sources", rules: "Rules", sinks: "Sinks" };
const SHOWN = 50; // errors

export function Overview(): JSX.Element {
  const now = status.value;
  if (!now) return <Page title="Overview"><p class="hint">Loading…</p></Page>;
  return (
    <Page title="Overview" lead={<>{now.name}{now.config && <>, <a href={href("config")}>configuration {now.config.generation}</a></>}, up since <Ago at={now.since} /></>}>
      <Verdict now={now} />
      <div class="cards">
        <Figure title="Received" why={DERIVED.received} value={total("sources", "received")} rate={totalRate("sources", "received")} />
        <Figure title="Matched" why={DERIVED.matched} value={total("rules", "matched")} rate={totalRate("rules", "matched")} />
        <Figure title="Delivered" why={DERIVED.delivered} value={total("sinks", "success")} rate={totalRate("sinks", "success")} />
        <Figure title="Waiting" why={DERIVED.waiting} value={total("sinks", "queuing") + total("sinks", "inflight")} link={href("sinks")} hint={size(total("sinks", "queuing_bytes"))} />
        <Figure title="Failed" why={DERIVED.failed} value={total("sinks", "failed")} bad link={href("dead")} hint={`${number(now.stream.dead_letters["held"])} dead letters`} />
        <Figure title="Dropped" why={DERIVED.dropped} value={total("sinks", "dropped")} bad />
      </div>
      <Rates />
      <Troubles now={now} />
      {Object.keys(now.rules).length + Object.keys(now.sources).length + Object.keys(now.sinks).length === 0 ? <FirstSteps /> : <Parts now={now} />}
    </Page>
  );
}

function Verdict({ now }: { now: Status }): JSX.Element {
  const refused = now.config?.error;
  const failing = KINDS.flatMap((kind) => Object.entries(now[kind]).filter(([, part]) => ails(part)).map(([name]) => ({ kind, name })));
  const missing = KINDS.filter((kind) => Object.keys(now[kind]).length === 0);
  return (
    <>
      {now.state === "running" && failing.length > 0 ? (
        <div class="verdict warn" role="status">
          <span aria-hidden="true">!</span> <strong>Events flow, with errors</strong> in {failing.map(({ kind, name }, index) => <span key={kind + name}>{index > 0 && ", "}{kind.slice(0, -1)} <a href={href(kind, name)}>{name}</a></span>)}. They are below.
        </div>
      ) : now.state === "running" ? (
        <div class="verdict good" role="status">
          <span aria-hidden="true">✓</span> <strong>All is well.</strong> {missing.length > 0 ? `Nothing flows yet: there is no ${missing.map((kind) => kind.slice(0, -1)).join(" and no ")}.` : `Events flow from ${counted(now, "sources")} through ${counted(now, "rules")} to ${counted(now, "sinks")}.`}
        </div>
      ) : (
        <div class="verdict bad" role="alert">
          <span aria-hidden="true">!</span> <strong>{now.state.charAt(0).toUpperCase() + now.state.slice(1)}.</strong> {now.reason}
        </div>
      )}
      {refused && (
        <div class="verdict bad" role="alert">
          <span aria-hidden="true">!</span> <strong>The configuration read <Ago at={now.config?.error_at} /> was not applied;</strong> the one before goes on.
          <pre>{refused}</pre>
          <a href={href("config")}>Repair it</a>
        </div>
      )}
    </>
  );
}

/** What went wrong last, in all parts. */
function Troubles({ now }: { now: Status }): JSX.Element | null {
  const found = KINDS.flatMap((kind) => Object.entries(now[kind]).flatMap(([name, { errors }]): Somewhere[] => errors.map((each) => ({ each, kind, name }))));
  if (found.length === 0) return null;
  return <Card title="Last errors"><List rows={found.sort((a, b) => b.each.last - a.each.last).slice(0, SHOWN)} /></Card>;
}

function counted(now: Status, kind: PartKind): string {
  const n = Object.keys(now[kind]).length;
  return `${n} ${n === 1 ? kind.slice(0, -1) : kind}`;
}

function Figure(props: { title: string; why: string; value: number; rate?: number; hint?: string; bad?: boolean; link?: string }): JSX.Element {
  const value = number(props.value);
  return (
    <section class="card figure" title={props.why}>
      <h2>{props.title}</h2>
      <p class={props.bad && props.value > 0 ? "value bad" : "value"}>{props.link && props.value > 0 ? <a href={props.link}>{value}</a> : value}</p>
      <p class="hint">{props.rate === undefined ? props.hint || "\u00a0" : perSecond(props.rate)}</p>
    </section>
  );
}

function FirstSteps(): JSX.Element {
  return (
    <Card title="First steps">
      <ol class="steps">
        <li><a href={href("sources", "", { new: "1" })}>Add a source</a>: where events come from. <code>mqtt_server</code> lets devices connect straight to headrace.</li>
        <li><a href={href("connectors", "", { new: "1" })}>Create a connector</a>: the server that events go to.</li>
        <li><a href={href("rules", "new")}>Create a rule</a>: which events, in SQL, and to which sink.</li>
      </ol>
    </Card>
  );
}

function Parts({ now }: { now: Status }): JSX.Element {
  return <>{KINDS.map((kind) => <Card key={kind} title={TITLES[kind]}><Table kind={kind} now={now} /></Card>)}</>;
}

function Table({ kind, now }: { kind: PartKind; now: Status }): JSX.Element {
  const rows = Object.entries(now[kind]);
  if (rows.length === 0) return <Empty title={`No ${kind} yet`}><a href={href(kind)}>Add one</a>.</Empty>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={kind}>
      <table class="even">
        <thead><tr><th scope="col">Name</th><th scope="col">State</th><Heads kind={kind} /></tr></thead>
        <tbody>
          {rows.map(([name, part]) => (
            <tr key={name} data-name={name}>
              <th scope="row"><a href={href(kind, name)}>{name}</a></th>
              <td><Chip part={part} /></td>
              <Cells kind={kind} name={name} part={part} />
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
