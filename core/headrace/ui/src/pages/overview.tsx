import type { JSX } from "preact";
import { Chart } from "../chart";
import { history, rate, status, total, totalRate } from "../live";
import { Ago, Card, Chip, Empty, Page, number, perSecond, size, span } from "../parts";
import { href } from "../route";
import type { PartKind, Status } from "../types";

const KINDS: PartKind[] = ["sources", "rules", "sinks"];

export function Overview(): JSX.Element {
  const now = status.value;
  if (!now) return <Page title="Overview"><p class="hint">Loading…</p></Page>;
  const points = history.value;
  return (
    <Page title="Overview" lead={<>{now.name}{now.config && <>, <a href={href("config")}>configuration {now.config.generation}</a></>}, up since <Ago at={now.since} /></>}>
      <Verdict now={now} />
      <div class="cards">
        <Figure title="Received" value={total("sources", "received")} rate={totalRate("sources", "received")} />
        <Figure title="Matched" value={total("rules", "matched")} rate={totalRate("rules", "matched")} />
        <Figure title="Delivered" value={total("sinks", "success")} rate={totalRate("sinks", "success")} />
        <Figure title="Waiting" value={total("sinks", "queuing") + total("sinks", "inflight")} />
        <Figure title="Failed" value={total("sinks", "failed")} bad link={href("dead")} />
        <Figure title="Dropped" value={total("sinks", "dropped")} bad />
      </div>
      <Card title="Events per second">
        <Chart
          at={points.at}
          label={`Events per second: ${perSecond(points.in.at(-1) ?? 0)} received, ${perSecond(points.out.at(-1) ?? 0)} delivered`}
          lines={[
            { label: "received", colour: "--series-1", points: points.in },
            { label: "delivered", colour: "--series-2", points: points.out },
            { label: "failed", colour: "--series-3", points: points.failed },
          ]}
        />
      </Card>
      <Troubles now={now} />
      {Object.keys(now.rules).length + Object.keys(now.sources).length + Object.keys(now.sinks).length === 0 ? <FirstSteps /> : <Parts now={now} />}
    </Page>
  );
}

function Verdict({ now }: { now: Status }): JSX.Element {
  const refused = now.config?.error;
  const missing = KINDS.filter((kind) => Object.keys(now[kind]).length === 0);
  return (
    <>
      {now.state === "running" ? (
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

/** What went wrong last, in each part. */
function Troubles({ now }: { now: Status }): JSX.Element | null {
  const found = KINDS.flatMap((kind) => Object.entries(now[kind]).flatMap(([name, { last_error: what, last_error_at: at }]) => (what ? [{ kind, name, what, at: at ?? 0 }] : [])));
  if (found.length === 0) return null;
  return (
    <Card title="Last errors">
      <ul class="troubles">
        {found.slice(0, 20).map(({ kind, name, what, at }) => (
          <li key={kind + name}><span class="where"><span class="hint">{kind.slice(0, -1)}</span> <a href={href(kind, name)}>{name}</a></span> <span class="error">{what}</span> <span class="hint"><Ago at={at} /></span></li>
        ))}
      </ul>
    </Card>
  );
}

function counted(now: Status, kind: PartKind): string {
  const n = Object.keys(now[kind]).length;
  return `${n} ${n === 1 ? kind.slice(0, -1) : kind}`;
}

function Figure(props: { title: string; value: number; rate?: number; bad?: boolean; link?: string }): JSX.Element {
  const value = number(props.value);
  return (
    <section class="card figure">
      <h2>{props.title}</h2>
      <p class={props.bad && props.value > 0 ? "value bad" : "value"}>{props.link && props.value > 0 ? <a href={props.link}>{value}</a> : value}</p>
      <p class="hint">{props.rate === undefined ? "\u00a0" : perSecond(props.rate)}</p>
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
  return (
    <>
      <Card title="Sources">
        <Table kind="sources" now={now} heads={["Received", "Rate", "Rejected"]} cells={(name, c) => [number(c["received"]), perSecond(rate("sources", name, "received")), number(c["rejected"])]} />
      </Card>
      <Card title="Rules">
        <Table kind="rules" now={now} heads={["Matched", "Rate", "Passed", "Failed"]} cells={(name, c) => [number(c["matched"]), perSecond(rate("rules", name, "matched")), number(c["passed"]), number(c["failed.exception"])]} />
      </Card>
      <Card title="Sinks">
        <Table
          kind="sinks"
          now={now}
          heads={["Delivered", "Rate", "Waiting", "Failed", "Dropped", "Buffer"]}
          cells={(name, c) => {
            const waits = (c["queuing"] ?? 0) + (c["inflight"] ?? 0);
            return [number(c["success"]), perSecond(rate("sinks", name, "success")), number(waits), number(c["failed"]), number(c["dropped"]), size(c["queuing_bytes"] ?? 0) + (waits ? `, oldest ${span(c["queuing_age"] ?? 0)}` : "")];
          }}
        />
      </Card>
    </>
  );
}

function Table(props: { kind: PartKind; now: Status; heads: string[]; cells: (name: string, counters: Record<string, number>) => string[] }): JSX.Element {
  const rows = Object.entries(props.now[props.kind]);
  if (rows.length === 0) return <Empty title={`No ${props.kind} yet`}><a href={href(props.kind)}>Add one</a>.</Empty>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={props.kind}>
      <table>
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">State</th>
            {props.heads.map((head) => <th scope="col" class="num" key={head}>{head}</th>)}
          </tr>
        </thead>
        <tbody>
          {rows.map(([name, part]) => (
            <tr key={name} data-name={name}>
              <th scope="row"><a href={href(props.kind, name)}>{name}</a></th>
              <td><Chip state={part.state} why={part.reason || part.last_error || ""} /></td>
              {props.cells(name, part.counters).map((cell, index) => <td class="num" key={index}>{cell}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
