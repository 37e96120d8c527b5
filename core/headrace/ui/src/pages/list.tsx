// Sources, connectors and sinks: the list, what to do with each, and the form for a new one.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { enable, parts, purgeOrphan, remove } from "../api";
import { Cells, Heads } from "../columns";
import { look, status } from "../live";
import { DERIVED } from "../meanings";
import { Ago, Card, Chip, Confirm, Dialog, Empty, Notice, Page, Switch, number, size, told, useLoad } from "../parts";
import { ONE, PartForm } from "../partform";
import { go, href, route, setQuery } from "../route";
import type { PartKind } from "../types";
import { mayAct, mayChange, whyNot } from "../who";

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
                  <Heads kind={kind} />
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
                    <td><Chip part={part} /></td>
                    <Cells kind={kind} name={name} part={part} />
                    {users && <td data-column="Used by">{(users.get(name) ?? []).map((sink) => <a key={sink} class="tag" href={href("sinks", sink)}>{sink}</a>)}</td>}
                    <td class={part.last_error ? "error" : "hint"}>{part.last_error ? <><span class="clip" title={part.last_error}>{part.last_error}</span> <small><Ago at={part.last_error_at} /></small></> : "–"}</td>
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
          <li key={topic}><strong>{nameOf(topic)}</strong>: <span title={DERIVED.orphan}>{number(each.events)} {each.events === 1 ? "event" : "events"}, {size(each.bytes)}</span> {mayAct.value && <button type="button" class="quiet" aria-label={`Purge what waits for ${nameOf(topic)}`} onClick={() => setPurging(topic)}>Purge</button>}</li>
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
