// Try a query on a sample event: what comes out, and if nothing, why.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError, request } from "../api";
import { Act, Notice } from "../parts";
import { useSamples } from "../sqlhelp";
import type { Options, Value } from "../types";

export function RuleTest({ sql, rule }: { sql: string; rule: string }): JSX.Element {
  const samples = useSamples();
  const [event, setEvent] = useState("message_publish");
  const [text, setText] = useState("");
  const [output, setOutput] = useState<{ good: boolean; title: string; text: string } | null>(null);
  const sample = samples.find((each) => each.name === event) ?? samples[0];
  useEffect(() => {
    if (sample) setText(JSON.stringify(sample.columns, null, 2));
  }, [sample]);
  const run = async (path: string, body: (context: Options) => Options) => {
    let context: Options;
    try {
      context = JSON.parse(text) as Options;
    } catch (error) {
      setOutput({ good: false, title: "The sample is not JSON", text: String(error) });
      return;
    }
    try {
      const answer = await request<Value>("POST", path, body(context));
      setOutput({ good: true, title: "Result", text: JSON.stringify(answer, null, 2) });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setOutput({ good: false, title: error.status === 412 ? "No result" : "Error", text: error.message });
    }
  };
  return (
    <>
      <div class="field">
        <label for="event">Event</label>
        <select id="event" value={sample?.name ?? ""} onChange={(change) => setEvent(change.currentTarget.value)}>
          {samples.map((each) => <option key={each.name} value={each.name}>{each.name}</option>)}
        </select>
        {sample?.text && <p class="hint">{sample.text}</p>}
      </div>
      <div class="field">
        <label for="sample">Its columns</label>
        <textarea id="sample" rows={9} spellcheck={false} value={text} onInput={(change) => setText(change.currentTarget.value)} />
      </div>
      <div class="buttons start">
        <Act class="primary" run={() => run("rules/test", (context) => ({ sql, context }))}>Run test</Act>
        {rule && <Act title="With the query as it is saved" run={() => run(`rules/${encodeURIComponent(rule)}/explain`, (context) => ({ event: context }))}>Explain</Act>}
      </div>
      {output && (output.good ? <><h3>{output.title}</h3><pre class="output" tabIndex={0} role="region" aria-label={output.title}>{output.text}</pre></> : <Notice><strong>{output.title}.</strong> {output.text}</Notice>)}
    </>
  );
}
