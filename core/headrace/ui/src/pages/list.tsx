// Sources, connectors and sinks: the list, what to do with each, and the form for a new one.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { enable, parts, purgeOrphan, remove } from "../api";
import { look, rate, status } from "../live";
import { Ago, Card, Chip, Confirm, Dialog, Empty, Notice, Page, Switch, number, perSecond, size, told, useLoad } from "../parts";
import { ONE, PartForm } from "../partform";
import { go, href, route, setQuery } from "../route";
import type { Part, PartKind } from "../types";
import { mayAct, mayChange, whyNot } from "../who";

interface Column {
  head: string;
  cell: (name: string, part: Part) => string;
  why: string;
}

const waiting = (part: Part): number => (part.counters["queuing"] ?? 0) + (part.counters["inflight"] ?? 0);
const COLUMNS: Record<PartKind, Column[]> = {
  sources: [
    { head: "Received", why: "Events the source has read since the start.", cell: (_, p) => number(p.counters["received"]) },
    { head: "Rate", why: "Events received per second, over the last five seconds.", cell: (name) => perSecond(rate("sources", name, "received")) },
    { head: "Pending", why: "Events on their way into the stream.", cell: (_, p) => number(p.counters["pending"]) },
    { head: "Rejected", why: "Events the stream could not take.", cell: (_, p) => number(p.counters["rejected"]) },
  ],
  connectors: [{ head: "Connections", why: "Open connections of the pool.", cell: (_, p) => number(p.counters["connections"]) }],
  rules: [],
  sinks: [
    { head: "Delivered", why: "Events whose delivery the peer confirmed.", cell: (_, p) => number(p.counters["success"]) },
    { head: "Rate", why: "Events delivered per second, over the last five seconds.", cell: (name) => perSecond(rate("sinks", name, "success")) },
    { head: "Waiting", why: "Events queued or being delivered.", cell: (_, p) => number(waiting(p)) },
    { head: "Buffer", why: "Bytes of unsettled events in the stream.", cell: (_, p) => size(p.counters["queuing_bytes"] ?? 0) },
    { head: "Failed", why: "Events given up; by default they are dead letters.", cell: (_, p) => number(p.counters["failed"]) },
    { head: "Dropped", why: "Events not sent: expired, buffer full, or the connector disabled.", cell: (_, p) => number(p.counters["dropped"]) },
  ],
};
const TITLES: Record<PartKind, [string, string]> = {
  sources: ["Sources", "Where events come from."],
  connectors: ["Connectors", "Named connections that sinks share: address, credentials, pool."],
  rules: ["Rules", "Which events go where, in SQL."],
  sinks: ["Sinks", "Where events go, with retries, order and a buffer of their own."],
};

export function PartList({ kind }: { kind: PartKind }): JSX.Element {
  const [error, setError] = useState("");
  const [removing, setRemoving] = useState("");
  const [title, lead] = TITLES[kind];
  const adding = route.value.query.get("new") === "1";
  const rows = Object.entries(status.value?.[kind] ?? {});
  const verb = kind === "connectors" ? "Create" : "Add";
  const close = () => setQuery({});
  const users = useUsers(kind);
  const owned = (name: string) => users !== undefined && !users.has(name);
  return (
    <Page title={title} lead={lead} actions={mayChange.value && <button type="button" class="primary" onClick={() => setQuery({ new: "1" })}>{verb} {ONE[kind]}</button>}>
      {error && <Notice>{error}</Notice>}
      <Card>
        {rows.length === 0 ? (
          <Empty title={`No ${kind} yet`}>{mayChange.value ? `${verb} one with the button above.` : whyNot.value}</Empty>
        ) : (
          <div class="scroll" tabIndex={0} role="region" aria-label={title}>
            <table>
              <thead>
                <tr>
                  <th scope="col">Name</th>
                  <th scope="col">State</th>
                  {COLUMNS[kind].map((each) => <th scope="col" class="num" title={each.why} key={each.head}>{each.head}</th>)}
                  {users && <th scope="col">Used by</th>}
                  <th scope="col">Last error</th>
                  <th scope="col">Enabled</th>
                  <th scope="col"><span class="hidden">Actions</span></th>
                </tr>
              </thead>
              <tbody>
                {rows.map(([name, part]) => (
                  <tr key={name} data-name={name}>
                    <th scope="row"><a href={owned(name) ? href("sinks", name) : href(kind, name)}>{name}</a></th>
                    <td><Chip state={part.state} why={part.reason} /></td>
                    {COLUMNS[kind].map((each) => <td class="num" data-column={each.head} key={each.head}>{each.cell(name, part)}</td>)}
                    {users && <td data-column="Used by">{(users.get(name) ?? []).map((sink) => <a key={sink} class="tag" href={href("sinks", sink)}>{sink}</a>)}</td>}
                    <td class="error">{part.last_error ? <><span class="clip" title={part.last_error}>{part.last_error}</span> <small><Ago at={part.last_error_at} /></small></> : "–"}</td>
                    {owned(name) ? <td colSpan={2} class="hint">within sink {name}</td> : (
                      <>
                        <td>
                          <Switch on={part.state !== "disabled"} disabled={!mayChange.value} label={`${name} enabled`} change={(on) => void enable(kind, name, on).then(look, (failure: unknown) => setError(told(failure)))} />
                        </td>
                        <td class="num">{mayChange.value && <button type="button" class="quiet" aria-label={`Delete ${name}`} onClick={() => setRemoving(name)}>Delete</button>}</td>
                      </>
                    )}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Card>
      {kind === "sinks" && <Orphans />}
      {adding && (
        <Dialog title={`${verb} a ${ONE[kind]}`} close={close}>
          <PartForm kind={kind} cancel={close} saved={(name) => { close(); go(kind, name); }} />
        </Dialog>
      )}
      {removing && (
        <Confirm title={`Delete ${removing}?`} act="Delete" close={() => setRemoving("")} run={() => remove(kind, removing).then(look)}>
          <p>It is taken out of the configuration file, too. {kind === "sinks" && "What waits in its buffer stays until it is purged."}</p>
        </Confirm>
      )}
    </Page>
  );
}

/** Of connectors: the sinks that use each. A connection that a sink has for itself is not among them. */
function useUsers(kind: PartKind): Map<string, string[]> | undefined {
  const wanted = kind === "connectors";
  const known = useLoad(async () => (wanted ? Promise.all([parts("connectors"), parts("sinks")]) : undefined), `${kind} ${status.value?.config?.generation ?? 0}`);
  if (!known.value) return undefined;
  const [connectors, sinks] = known.value;
  return new Map(connectors.map(({ name }) => [String(name), sinks.filter((sink) => sink["connector"] === name).map((sink) => String(sink["name"]))]));
}

function Orphans(): JSX.Element | null {
  const orphans = Object.entries(status.value?.stream.orphans ?? {});
  const [purging, setPurging] = useState("");
  if (orphans.length === 0) return null;
  return (
    <Card title="Left behind">
      <p class="hint">These sinks are gone, and events still wait for them. A new sink of the same name takes them up.</p>
      <ul>
        {orphans.map(([topic, each]) => (
          <li key={topic}><strong>{nameOf(topic)}</strong>: {number(each.events)} events, {size(each.bytes)} {mayAct.value && <button type="button" class="quiet" aria-label={`Purge what waits for ${nameOf(topic)}`} onClick={() => setPurging(topic)}>Purge</button>}</li>
        ))}
      </ul>
      {purging && (
        <Confirm title={`Purge what waits for ${nameOf(purging)}?`} act="Purge" close={() => setPurging("")} run={() => purgeOrphan(purging).then(look)}>
          <p>These events are gone for good: nobody sends them any more.</p>
        </Confirm>
      )}
    </Card>
  );
}

const nameOf = (topic: string): string => topic.replace(/^sink\./, "");
