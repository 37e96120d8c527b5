// Try a query on an event, made up or real: what comes out, and if nothing, why.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError, explain, testSql, type Explained, type Tapped, type Tried } from "../api";
import { status } from "../live";
import { Act, Empty, Notice } from "../parts";
import { Request } from "../partform";
import { useSamples } from "../sqlhelp";
import { useTapped } from "../tapped";
import type { Options } from "../types";

const MOST_SOURCES = 4;

/** `rule`: its name, if the query is the one that runs. */
export function RuleTest({ sql, rule, sources }: { sql: string; rule: string; sources: string[] | null }): JSX.Element {
  const samples = useSamples();
  const [event, setEvent] = useState("");
  const [text, setText] = useState("");
  const [output, setOutput] = useState<Outcome | null>(null);
  const [real, setReal] = useState(false);
  const sample = samples.find((each) => each.name === event) ?? samples[0];
  useEffect(() => {
    if (sample) setText(JSON.stringify(sample.columns, null, 2));
  }, [sample]);
  const run = async () => setOutput(await tried(text, (context) => testSql(sql, context)));
  const tell = async () => setOutput(await tried(text, (context) => explain(rule, context)));
  const take = (columns: Options) => {
    setText(JSON.stringify(columns, null, 2));
    setOutput(null);
  };
  return (
    <>
      <div class="field">
        <label for="event">Event</label>
        <div class="buttons start flush">
          <select id="event" value={sample?.name ?? ""} onChange={(change) => { setEvent(change.currentTarget.value); setOutput(null); }}>
            {samples.map((each) => <option key={each.name} value={each.name}>{each.name}</option>)}
          </select>
          <button type="button" aria-expanded={real} onClick={() => setReal(!real)}>{real ? "Hide real ones" : "Take a real one"}</button>
        </div>
        {sample?.text && !real && <p class="hint">When {sample.text}.</p>}
      </div>
      {real && <RealOnes sql={sql} sources={sources} take={take} />}
      <div class="field">
        <label for="sample">Its columns</label>
        <textarea id="sample" rows={9} spellcheck={false} value={text} onInput={(change) => setText(change.currentTarget.value)} />
      </div>
      <div class="buttons start"><Act class="primary" run={run}>Run test</Act>{rule && <Act title="What the rule and its sinks would do with it; nothing is sent" run={tell}>Explain</Act>}</div>
      {output && <Shown output={output} />}
    </>
  );
}

type Outcome = { failed: string; why: string } | Tried | Explained;

async function tried(text: string, run: (context: Options) => Promise<Tried | Explained>): Promise<Outcome> {
  let context: Options;
  try {
    context = JSON.parse(text) as Options;
  } catch (error) {
    return { failed: "The columns are not JSON.", why: String(error) };
  }
  try {
    return await run(context);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return { failed: error.status === 412 ? "No result." : "Error.", why: error.message };
  }
}

/** What the rule makes of the event and why, and what each sink would send. */
function Story({ told: { lines, rows, sends } }: { told: Explained }): JSX.Element {
  return (
    <div role="status">
      <h3>What happens</h3>
      <pre class="output" tabIndex={0} role="region" aria-label="What happens">{lines.join("\n")}</pre>
      {rows.map((row, index) => (
        <section key={index}>
          <h3>Row {index + 1}</h3>
          <pre class="output">{JSON.stringify(row, null, 2)}</pre>
          {(sends[index] ?? []).map((each) => <div key={each.sink}><h3>Sink {each.sink} would send</h3>{each.error ? <Notice>{each.error}</Notice> : <Request request={each.request} />}</div>)}
        </section>
      ))}
    </div>
  );
}

function Shown({ output }: { output: Outcome }): JSX.Element {
  if ("sends" in output) return <Story told={output} />;
  if ("failed" in output) return <Notice kind={output.failed === "No result." ? "warn" : "error"}><strong>{output.failed}</strong>{"\n"}{output.why}</Notice>;
  return (
    <div role="status">
      <h3>{output.rows.length === 1 ? "Result" : `${output.rows.length} results`}</h3>
      <pre class="output" tabIndex={0} role="region" aria-label="Result">{output.rows.map((row) => JSON.stringify(row, null, 2)).join("\n")}</pre>
      {output.explanation.length > 0 && <><h3>How it came to that</h3><pre class="output" tabIndex={0} role="region" aria-label="How it came to that">{output.explanation.join("\n")}</pre></>}
    </div>
  );
}

/** Events that sources read now and that the query sees, to choose from. */
function RealOnes({ sql, sources, take }: { sql: string; sources: string[] | null; take: (columns: Options) => void }): JSX.Element {
  const [topics, setTopics] = useState<string[]>([]);
  useEffect(() => void testSql(sql).then(({ inputs }) => setTopics(inputs.topics), () => setTopics([])), [sql]);
  const nodes = (sources ?? Object.keys(status.value?.sources ?? {})).slice(0, MOST_SOURCES).map((name) => `source:${name}`);
  const { seen, trouble } = useTapped(nodes, topics.length === 1 ? (topics[0] as string) : "", false);
  if (seen.length === 0) return <Empty title="Waiting for events">{trouble || "What sources read is listed here as it comes."}</Empty>;
  return (
    <ol class="events real" tabIndex={0} aria-label="Real events">
      {seen.slice(0, 10).map((each: Tapped) => (
        <li key={each.id}>
          <time>{new Date(each.at).toLocaleTimeString()}</time>
          <button type="button" class="quiet" onClick={() => take(each.columns)}>{String(each.columns["topic"] ?? each.columns["event"] ?? each.id)}</button>
          <code class="clip">{typeof each.columns["payload"] === "string" ? each.columns["payload"] : JSON.stringify(each.columns["payload"] ?? "")}</code>
        </li>
      ))}
    </ol>
  );
}
