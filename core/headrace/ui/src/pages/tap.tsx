// Events as they pass a part of the pipeline.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { tap } from "../api";
import { status } from "../live";
import { Card, Empty, Page } from "../parts";
import { route, setQuery } from "../route";
import type { PartKind } from "../types";

const KEPT = 200;
const KINDS: PartKind[] = ["sources", "rules", "sinks"];

interface Seen {
  at: number;
  text: string;
}

export function Tap(): JSX.Element {
  const now = status.value;
  const all = KINDS.flatMap((kind) => Object.keys(now?.[kind] ?? {}).map((name): [PartKind, string] => [kind, name]));
  const node = route.value.query.get("node") ?? "";
  const [kind, name = ""] = node.split(":") as [PartKind, string?];
  const [seen, setSeen] = useState<Seen[]>([]);
  const [find, setFind] = useState("");
  const [held, setHeld] = useState(false);
  const [trouble, setTrouble] = useState("");
  const paused = useRef(false);
  paused.current = held;
  useEffect(() => {
    setSeen([]);
    setTrouble("");
    if (!name) return;
    const stream = tap(kind, name, 1);
    stream.onmessage = (message: MessageEvent<string>) => {
      if (!paused.current) setSeen((before) => [{ at: Date.now(), text: pretty(message.data) }, ...before].slice(0, KEPT));
    };
    stream.onopen = () => setTrouble("");
    stream.onerror = () => setTrouble(stream.readyState === EventSource.CLOSED ? "The tap was refused." : "Connecting again…");
    return () => stream.close();
  }, [node]);
  const shown = seen.filter((each) => each.text.toLowerCase().includes(find.toLowerCase()));
  return (
    <Page title="Tap" lead="Events as they pass, with secrets masked. Many a second are sampled.">
      <Card>
        <div class="filter">
          <select aria-label="Where to look" value={node} onChange={(event) => setQuery({ node: event.currentTarget.value })}>
            <option value="">Choose a part…</option>
            {all.map(([each, part]) => <option key={each + part} value={`${each}:${part}`}>{each.slice(0, -1)} {part}</option>)}
          </select>
          <input type="search" aria-label="Only events with this text" placeholder="Only with this text" value={find} onInput={(event) => setFind(event.currentTarget.value)} />
          {name && <button type="button" aria-pressed={held} onClick={() => setHeld(!held)}>{held ? "Go on" : "Hold"}</button>}
        </div>
        {trouble && <p class="hint" role="status">{trouble}</p>}
        {!name ? <Empty title="Nothing is tapped">Choose a source, a rule or a sink above.</Empty> : shown.length === 0 ? <Empty title="Waiting for events">They are shown as they pass.</Empty> : (
          <ol class="events" aria-live="off">
            {shown.map((each, index) => (
              <li key={`${each.at}-${seen.length - index}`}><time>{new Date(each.at).toLocaleTimeString()}</time><pre>{each.text}</pre></li>
            ))}
          </ol>
        )}
      </Card>
    </Page>
  );
}

function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 1).replace(/\n\s*/g, " ");
  } catch {
    return text;
  }
}
