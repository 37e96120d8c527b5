// Events that their sink gave up: find, look into, give to the sink again, throw away.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { letters, purge, replay, type Letter, type Which } from "../api";
import { look, status } from "../live";
import { Act, Ago, Card, Confirm, Dialog, Empty, Notice, Page, number, size, useLoad } from "../parts";
import { href, route, setQuery } from "../route";

const SHOWN = 100;

export function DeadLetters(): JSX.Element {
  const asked = route.value.query;
  const which: Which = { sink: asked.get("sink") ?? "", rule: asked.get("rule") ?? "", reason: asked.get("reason") ?? "" };
  const totals = status.value?.stream.dead_letters ?? {};
  const held = totals["held"] ?? totals["kept"] ?? 0;
  const found = useLoad(() => letters(which, SHOWN), JSON.stringify([which, held]));
  const [error, setError] = useState("");
  const [done, setDone] = useState("");
  const [open, setOpen] = useState<Letter | null>(null);
  const [purging, setPurging] = useState<Which | null>(null);
  const narrow = (part: Which) => setQuery({ ...which, ...part } as Record<string, string>);
  const given = Object.values(which).some(Boolean);
  const again = async (chosen: Which) => {
    const answer = await replay(chosen);
    const failed = Object.entries(answer.failed).map(([sink, why]) => `${sink}: ${why}`);
    setDone(`${number(answer.replayed)} given to their sinks again.`);
    if (failed.length) setError(failed.join("; "));
    await Promise.all([look(), found.again()]);
  };
  return (
    <Page
      title="Dead letters"
      lead={<>Events that a sink gave up after its last attempt. {number(held)} held{totals["held_bytes"] ? `, ${size(totals["held_bytes"])}` : ""}.</>}
      actions={held > 0 && <><Act failed={setError} run={() => again(which)}>{given ? "Replay these" : "Replay all"}</Act><button type="button" onClick={() => setPurging(which)}>{given ? "Purge these" : "Purge all"}</button></>}
    >
      {(error || found.error) && <Notice>{error || found.error}</Notice>}
      {done && <Notice kind="good">{done}</Notice>}
      <Card>
        <div class="filter">
          <Choose label="Sink" all="every sink" names={Object.keys(status.value?.sinks ?? {})} now={which.sink ?? ""} choose={(sink) => narrow({ sink })} />
          <Choose label="Rule" all="every rule" names={Object.keys(status.value?.rules ?? {})} now={which.rule ?? ""} choose={(rule) => narrow({ rule })} />
          <input type="search" aria-label="Part of the reason" placeholder="Part of the reason" value={which.reason} onInput={(event) => narrow({ reason: event.currentTarget.value })} />
        </div>
        {found.value?.length === 0 ? (
          <Empty title={given ? "None that fits" : "No dead letters"}>{given ? "Another filter may find some." : "Nothing was given up. What fails is retried first, see the retry options of each sink."}</Empty>
        ) : (
          <div class="scroll" tabIndex={0} role="region" aria-label="Dead letters">
            <table>
              <thead><tr><th scope="col">When</th><th scope="col">Sink</th><th scope="col">Rule</th><th scope="col">Key</th><th scope="col" class="num">Attempts</th><th scope="col">Reason</th><th scope="col"><span class="hidden">Actions</span></th></tr></thead>
              <tbody>
                {(found.value ?? []).map((each) => (
                  <tr key={each.offset} data-letter={each.offset}>
                    <td><button type="button" class="quiet" onClick={() => setOpen(each)}><Ago at={each.at / 1000} /></button></td>
                    <td><a href={href("sinks", each.sink)}>{each.sink}</a></td>
                    <td><a href={href("rules", each.rule)}>{each.rule}</a></td>
                    <td>{String(each.key ?? "")}</td>
                    <td class="num">{number(each.attempts)}</td>
                    <td><span class="clip" title={each.reason}>{each.reason}</span></td>
                    <td class="num"><Act class="quiet" failed={setError} label={`Replay letter ${each.offset}`} run={() => again({ id: String(each.offset) })}>Replay</Act></td>
                  </tr>
                ))}
              </tbody>
            </table>
            {found.value?.length === SHOWN && <p class="hint">The oldest {SHOWN} are shown.</p>}
          </div>
        )}
      </Card>
      {open && (
        <Dialog wide title={`Letter ${open.offset}`} close={() => setOpen(null)}>
          <p class="error">{open.reason}</p>
          <pre class="output" tabIndex={0} role="region" aria-label="All there is of it">{JSON.stringify(open, null, 2)}</pre>
        </Dialog>
      )}
      {purging && (
        <Confirm title="Purge dead letters?" act="Purge" close={() => setPurging(null)} run={async () => { const answer = await purge(purging); setDone(`${number(answer.purged)} purged.`); await Promise.all([look(), found.again()]); }}>
          <p>{given ? "Those that the filter finds are" : "All of them are"} gone for good: nobody sends them any more.</p>
        </Confirm>
      )}
    </Page>
  );
}

function Choose(props: { label: string; all: string; names: string[]; now: string; choose: (name: string) => void }): JSX.Element {
  return (
    <select aria-label={props.label} value={props.now} onChange={(event) => props.choose(event.currentTarget.value)}>
      <option value="">{props.all}</option>
      {props.names.map((name) => <option key={name} value={name}>{name}</option>)}
    </select>
  );
}
