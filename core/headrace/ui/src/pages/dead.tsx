// Events that their sink gave up: find, look into, give to the sink again, throw away.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { letter, letters, purge, replay, replayOne, type Which } from "../api";
import { look, status } from "../live";
import { DERIVED } from "../meanings";
import { Act, Ago, Card, Confirm, Dialog, Empty, Notice, Page, number, size, useLoad } from "../parts";
import { Request } from "../partform";
import { href, route, setQuery } from "../route";
import { mayAct } from "../who";

const PAGE = 50;
const AGES = { "": "of all time", "15m": "last 15 minutes", "1h": "last hour", "24h": "last 24 hours", "7d": "last 7 days" };

export function DeadLetters(): JSX.Element {
  const asked = route.value.query;
  const which: Which = { sink: asked.get("sink") ?? "", rule: asked.get("rule") ?? "", reason: asked.get("reason") ?? "", since: asked.get("since") ?? "" };
  const [limit, setLimit] = useState(PAGE);
  const totals = status.value?.stream.dead_letters ?? {};
  const held = totals["held"] ?? totals["kept"] ?? 0;
  const found = useLoad(() => letters(which, limit), JSON.stringify([which, held, limit]));
  const [error, setError] = useState("");
  const [done, setDone] = useState("");
  const open = asked.get("letter") ?? "";
  const setOpen = (offset: number | null) => setQuery({ ...which, letter: offset === null ? "" : String(offset) } as Record<string, string>);
  const [purging, setPurging] = useState<Which | null>(null);
  const narrow = (part: Which) => setQuery({ ...which, ...part } as Record<string, string>);
  const given = Object.values(which).some(Boolean);
  const [edited, setEdited] = useState<string | null>(null);
  const again = (chosen: Which) => giving(() => replay(chosen));
  const giving = async (act: () => ReturnType<typeof replay>) => {
    const answer = await act();
    const failed = Object.entries(answer.failed).map(([sink, why]) => `${sink}: ${why}`);
    setDone(`${number(answer.replayed)} given to their sinks again.`);
    if (failed.length) setError(failed.join("; "));
    await Promise.all([look(), found.again()]);
  };
  return (
    <Page
      title="Dead letters"
      lead={<>Events that a sink gave up after its last attempt. <span title={DERIVED.held}>{number(held)} held{totals["held_bytes"] ? `, ${size(totals["held_bytes"])}` : ""}</span>.</>}
      actions={held > 0 && mayAct.value && <><Act failed={setError} run={() => again(which)}>{given ? "Replay these" : "Replay all"}</Act><button type="button" onClick={() => setPurging(which)}>{given ? "Purge these" : "Purge all"}</button></>}
    >
      {(error || found.error) && <Notice>{error || found.error}</Notice>}
      {done && <Notice kind="good">{done}</Notice>}
      <Card>
        <div class="filter">
          <Choose label="Sink" all="every sink" names={Object.keys(status.value?.sinks ?? {})} now={which.sink ?? ""} choose={(sink) => narrow({ sink })} />
          <Choose label="Rule" all="every rule" names={Object.keys(status.value?.rules ?? {})} now={which.rule ?? ""} choose={(rule) => narrow({ rule })} />
          <select aria-label="Age" value={which.since} onChange={(event) => narrow({ since: event.currentTarget.value })}>
            {Object.entries(AGES).map(([age, told]) => <option key={age} value={age}>{told}</option>)}
          </select>
          <input type="search" aria-label="Part of the reason" placeholder="Part of the reason" value={which.reason} onInput={(event) => narrow({ reason: event.currentTarget.value })} />
        </div>
        {found.value?.length === 0 ? (
          <Empty title={given ? "None that fits" : "No dead letters"}>{given ? "Another filter may find some." : "Nothing was given up. What fails is retried first, see the retry options of each sink."}</Empty>
        ) : (
          <div class="scroll" tabIndex={0} role="region" aria-label="Dead letters">
            <table>
              <thead><tr><th scope="col">When</th><th scope="col">Sink</th><th scope="col">Rule</th><th scope="col">Key</th><th scope="col" class="num" title={DERIVED.attempts}>Attempts</th><th scope="col">Reason</th><th scope="col"><span class="hidden">Actions</span></th></tr></thead>
              <tbody>
                {(found.value ?? []).map((each) => (
                  <tr key={each.offset} data-letter={each.offset}>
                    <td><button type="button" class="quiet start" aria-label={`Open letter ${each.offset}`} onClick={() => { setEdited(null); setOpen(each.offset); }}><Ago at={each.at / 1000} /></button></td>
                    <td><a href={href("sinks", each.sink)}>{each.sink}</a></td>
                    <td><a href={href("rules", each.rule)}>{each.rule}</a></td>
                    <td>{String(each.key ?? "")}</td>
                    <td class="num" title={DERIVED.attempts}>{number(each.attempts)}</td>
                    <td><span class="clip" title={each.reason}>{each.reason}</span></td>
                    <td class="num">{mayAct.value && <Act class="quiet" failed={setError} label={`Replay letter ${each.offset}`} run={() => again({ id: String(each.offset) })}>Replay</Act>}</td>
                  </tr>
                ))}
              </tbody>
            </table>
            {found.value?.length === limit && <p class="hint">The oldest {limit} are shown. {limit < 1000 && <button type="button" class="quiet" onClick={() => setLimit(Math.min(1000, limit + 200))}>Show more</button>}</p>}
          </div>
        )}
      </Card>
      {open && (
        <Dialog wide title={`Dead letter ${open}`} close={() => { setOpen(null); setEdited(null); }}>
          <Opened key={open} offset={Number(open)} edited={edited} edit={setEdited} />
          {error && <Notice>{error}</Notice>}
          {mayAct.value && (
            <div class="buttons">
              <button type="button" onClick={() => { setPurging({ id: open }); setOpen(null); }}>Purge</button>
              <Act class="primary" failed={setError} run={() => giving(() => replayOne(Number(open), edited === null ? undefined : JSON.parse(edited))).then(() => setOpen(null))}>{edited === null ? "Replay" : "Replay as edited"}</Act>
            </div>
          )}
        </Dialog>
      )}
      {purging && (
        <Confirm title="Purge dead letters?" act="Purge" close={() => setPurging(null)} run={async () => { const answer = await purge(purging); setDone(`${number(answer.purged)} purged.`); await Promise.all([look(), found.again()]); }}>
          <p>{purging.id ? `Letter ${purging.id} is` : given ? "Those that the filter finds are" : "All of them are"} gone for good: nobody sends them any more.</p>
        </Confirm>
      )}
    </Page>
  );
}

/** All there is of a letter: why it was given up, the event, and the request as it would be made now. */
function Opened(props: { offset: number; edited: string | null; edit: (text: string | null) => void }): JSX.Element {
  const whole = useLoad(() => letter(props.offset), props.offset);
  if (!whole.value) return whole.error ? <Notice>{whole.error}</Notice> : <p class="hint">Loading…</p>;
  const { event, answer, request, render, render_error, ...rest } = whole.value;
  const facts: [string, JSX.Element | string][] = [
    ["Reason", <span class="error">{rest.reason}</span>],
    ["Answer", answer ? <code>{String(answer)}</code> : "–"],
    ["Given up", <>{new Date(rest.at).toLocaleString()}, after {number(rest.attempts)} {rest.attempts === 1 ? "attempt" : "attempts"}</>],
    ["Way", <>{String(rest["source"] ?? "")} → <a href={href("rules", rest.rule)}>{rest.rule}</a> → <a href={href("sinks", rest.sink)}>{rest.sink}</a>, key {rest.key || "–"}</>],
    ["Event", <code>{rest.event_id}</code>],
  ];
  return (
    <>
      <dl class="facts">{facts.map(([name, value]) => <><dt>{name}</dt><dd>{value}</dd></>)}</dl>
      <h3>What the rule selected</h3>
      {props.edited === null ? (
        <>
          <pre class="output" tabIndex={0} role="region" aria-label="What the rule selected">{JSON.stringify(event, null, 2)}</pre>
          {mayAct.value && <button type="button" class="quiet" onClick={() => props.edit(JSON.stringify(event, null, 2))}>Edit</button>}
        </>
      ) : (
        <>
          <textarea aria-label="The event, edited" rows={10} spellcheck={false} value={props.edited} onInput={(typed) => props.edit(typed.currentTarget.value)} />
          <button type="button" class="quiet" onClick={() => props.edit(null)}>As it was</button>
        </>
      )}
      <h3>The request, as it would be made now</h3>
      {render_error && <Notice>{render_error}</Notice>}
      {render && <Request request={render} />}
    </>
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
