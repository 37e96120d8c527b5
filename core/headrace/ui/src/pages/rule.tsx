// One rule: its query, its sinks, a test on a sample, its numbers.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { create, enable, onePart, resetCounters, update } from "../api";
import { Editor } from "../editor";
import { Cells, Heads } from "../columns";
import { Counters } from "../counters";
import { Errors } from "../errors";
import { look, part, status } from "../live";
import { DERIVED } from "../meanings";
import { Act, Ago, Card, Chip, Dialog, Empty, Notice, Page, Switch, Tabs, perSecond, told, useLoad } from "../parts";
import { PartForm, READ_ONLY, without } from "../partform";
import { Rates } from "../past";
import { go, href, route, setQuery } from "../route";
import { useWords, checkSql } from "../sqlhelp";
import type { Options } from "../types";
import { mayAct, mayChange, whyNot } from "../who";
import { isPlain, sinksOf, sourcesOf, sqlOf } from "./ruleparts";
import { RuleTest } from "./ruletest";

type Tab = "actions" | "test" | "numbers";
const FIRST = 'SELECT\n  *\nFROM\n  "t/#"';

export function RuleEdit({ name: fixed }: { name: string }): JSX.Element {
  const loaded = useLoad<Options>(() => (fixed ? onePart("rules", fixed) : Promise.resolve({})), fixed);
  if (loaded.error) return <Page title={fixed}><Notice>{loaded.error}</Notice></Page>;
  if (!loaded.value) return <Page title={fixed || "Create a rule"}><p class="hint">Loading…</p></Page>;
  return <Loaded fixed={fixed} rule={without(loaded.value, READ_ONLY)} again={loaded.again} />;
}

function Loaded({ fixed, rule, again }: { fixed: string; rule: Options; again: () => Promise<void> }): JSX.Element {
  const [name, setName] = useState(fixed);
  const [sql, setSql] = useState(fixed ? sqlOf(rule) : FIRST);
  const [to, setTo] = useState<string[]>(sinksOf(rule));
  const [error, setError] = useState("");
  const [saved, setSaved] = useState(false);
  const words = useWords();
  const tab = (route.value.query.get("tab") ?? "actions") as Tab;
  const live = part("rules", fixed);
  const changed = sql !== sqlOf(rule) || to.join() !== sinksOf(rule).join();
  useEffect(() => setSaved(false), [sql, to]);
  const save = async () => {
    setError("");
    const query: Options = isPlain(rule) ? { ...without(rule, ["transforms"]), sql } : rule;
    const options: Options = { ...without(query, ["name"]), to: to.length === 1 ? (to[0] as string) : to };
    try {
      if (fixed) await update("rules", fixed, options);
      else await create("rules", { name, ...options });
    } catch (failure) {
      setError(told(failure));
      return;
    }
    await look();
    if (fixed) {
      await again();
      setSaved(true);
    } else go("rules", name, { tab: "numbers" });
  };
  return (
    <Page
      title={fixed || "Create a rule"}
      lead={fixed ? <><a href={href("rules")}>rule</a> · <Chip part={live} /> since <Ago at={live?.since} /></> : "A rule reads events with SQL and gives what it selects to sinks."}
      actions={
        <>
          {fixed && mayChange.value && <label class="inline"><Switch on={live?.state !== "disabled"} label={`${fixed} enabled`} change={(on) => void enable("rules", fixed, on).then(() => Promise.all([look(), again()]), (failure: unknown) => setError(told(failure)))} /> enabled</label>}
          {fixed && <a class="button" href={href("tap", "", { node: `rule:${fixed}` })}>Tap</a>}
          {fixed && mayAct.value && <Act title="Count from zero on" failed={setError} run={() => resetCounters("rules", fixed).then(look)}>Reset counters</Act>}
          {!fixed && <a class="button" href={href("rules")}>Cancel</a>}
          {mayChange.value && <Act class="primary" run={save} disabled={fixed ? !changed : !name || to.length === 0} title={to.length === 0 ? "Add an action first: a rule needs a sink" : ""}>{fixed ? "Save" : "Create"}</Act>}
        </>
      }
    >
      {whyNot.value && <Notice kind="warn">{whyNot.value}</Notice>}
      {error && <Notice>{error}</Notice>}
      {saved && <Notice kind="good">Saved: the file is written, and the rule runs as shown.</Notice>}
      {live?.last_error && tab !== "numbers" && <Notice kind="warn">Last error: {live.last_error} (<Ago at={live.last_error_at} />) <a href={href("rules", fixed, { tab: "numbers" })}>All errors</a></Notice>}
      <div class={tab === "numbers" ? "" : "columns"}>
        <Card title="Query">
          {!fixed && (
            <div class="field">
              <label for="rulename">name<span class="needed"> required</span></label>
              <input id="rulename" type="text" required autocomplete="off" spellcheck={false} placeholder="my_rule" value={name} onInput={(event) => setName(event.currentTarget.value)} />
            </div>
          )}
          {isPlain(rule) ? (
            <Editor language="sql" label="SQL of the rule" value={sql} {...(mayChange.value ? { change: setSql } : {})} words={words} check={checkSql} />
          ) : (
            <Notice kind="warn">This rule is more than one query. <a href={href("config")}>Change it in the configuration.</a></Notice>
          )}
          <p class="hint">Ctrl+Space completes columns and functions. FROM takes topic filters such as "t/#" and events such as "$events/client_connected".</p>
        </Card>
        <div>
          <Tabs<Tab> label="About this rule" now={tab} choose={(next) => setQuery({ tab: next })} tabs={fixed ? { actions: "Actions", test: "Test", numbers: "Numbers" } as Record<Tab, string> : { actions: "Actions", test: "Test" } as Record<Tab, string>} />
          {tab === "numbers" && fixed ? <Numbers name={fixed} to={to} /> : (
            <Card>{tab === "test" && isPlain(rule) ? <RuleTest sql={sql} rule={changed ? "" : fixed} sources={sourcesOf(rule)} /> : <Actions to={to} change={setTo} />}</Card>
          )}
        </div>
      </div>
    </Page>
  );
}

function Actions({ to, change }: { to: string[]; change: (to: string[]) => void }): JSX.Element {
  const [adding, setAdding] = useState(false);
  const others = Object.keys(status.value?.sinks ?? {}).filter((name) => !to.includes(name));
  return (
    <>
      {to.length === 0 ? <Empty title="No action yet">An action is a sink that gets what the query selects.</Empty> : (
        <ul class="actionlist">
          {to.map((name) => {
            const sink = part("sinks", name);
            return (
              <li key={name}>
                <a href={href("sinks", name)}>{name}</a> <Chip part={sink} />
                {mayChange.value && <button type="button" class="quiet" aria-label={`Take ${name} off`} onClick={() => change(to.filter((each) => each !== name))}>✕</button>}
              </li>
            );
          })}
        </ul>
      )}
      {mayChange.value && <div class="buttons start">
        <button type="button" onClick={() => setAdding(true)}>+ Add action</button>
        {others.length > 0 && (
          <select aria-label="Use a sink that is there" value="" onChange={(event) => event.currentTarget.value && change([...to, event.currentTarget.value])}>
            <option value="">or use a sink that is there…</option>
            {others.map((name) => <option key={name} value={name}>{name}</option>)}
          </select>
        )}
      </div>}
      {adding && (
        <Dialog title="Add a sink" close={() => setAdding(false)}>
          <PartForm kind="sinks" cancel={() => setAdding(false)} saved={(name) => { change([...to, name]); setAdding(false); }} />
        </Dialog>
      )}
    </>
  );
}

function Numbers({ name, to }: { name: string; to: string[] }): JSX.Element {
  const now = part("rules", name);
  if (!now) return <p class="hint">Not running yet.</p>;
  return (
    <>
      <Errors errors={now.errors} />
      <Rates kind="rules" name={name} />
      <Counters kind="rules" name={name} now={now} />
      <p class="hint figures">
        Matched per second: <span title={DERIVED.lastFive}>{perSecond(now.rates?.["matched.rate.last5m"] ?? 0)} over the last five minutes</span>, <span title={DERIVED.highest}>{perSecond(now.rates?.["matched.rate.max"] ?? 0)} at most</span>. Last event: <span title={DERIVED.lastEvent}><Ago at={now.last_event_at} /></span>.
      </p>
      <Card title="Actions">
      <div class="scroll" tabIndex={0} role="region" aria-label="Actions">
        <table>
          <thead><tr><th scope="col">Sink</th><th scope="col">State</th><Heads kind="sinks" /></tr></thead>
          <tbody>
            {to.map((sink) => {
              const each = part("sinks", sink);
              return <tr key={sink} data-name={sink}><th scope="row"><a href={href("sinks", sink)}>{sink}</a></th><td><Chip part={each} /></td>{each && <Cells kind="sinks" name={sink} part={each} />}</tr>;
            })}
          </tbody>
        </table>
      </div>
      </Card>
    </>
  );
}
