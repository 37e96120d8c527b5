// Events as they pass a part: a list that grows while one looks.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { tap, type Tapped } from "./api";
import { Empty, number } from "./parts";

const KEPT = 100;

/** The last events of parts such as `source:devices`, newest first, and why there are none. */
export function useTapped(nodes: string[], topic: string, paused: boolean): { seen: Tapped[]; passed: number; trouble: string } {
  const [seen, setSeen] = useState<Tapped[]>([]);
  const [passed, setPassed] = useState(0);
  const [trouble, setTrouble] = useState("");
  const held = useRef(paused);
  held.current = paused;
  useEffect(() => {
    setSeen([]);
    setPassed(0);
    setTrouble("");
    const streams = nodes.map((node) => {
      const stream = tap(node, topic);
      stream.onmessage = (message: MessageEvent<string>) => {
        if (!held.current) setSeen((before) => [JSON.parse(message.data) as Tapped, ...before].slice(0, KEPT));
      };
      stream.addEventListener("passed", (message) => setPassed(Number((message as MessageEvent<string>).data)));
      stream.onopen = () => setTrouble("");
      stream.onerror = () => setTrouble(stream.readyState === EventSource.CLOSED ? "The tap was refused: there may be too many of them." : "Connecting again…");
      return stream;
    });
    return () => streams.forEach((stream) => stream.close());
  }, [nodes.join(" "), topic]);
  return { seen, passed, trouble };
}

export function Events({ node, topic = "", text = "" }: { node: string; topic?: string; text?: string }): JSX.Element {
  const [held, setHeld] = useState(false);
  const { seen, passed, trouble } = useTapped([node], topic, held);
  const wanted = text.toLowerCase();
  const shown = seen.filter((each) => JSON.stringify(each).toLowerCase().includes(wanted));
  return (
    <>
      <div class="cardhead">
        <p class="hint" role="status">{trouble || `${number(passed)} passed while you look${held ? "; the list is held" : ""}.`}</p>
        <button type="button" aria-pressed={held} onClick={() => setHeld(!held)}>{held ? "Go on" : "Hold"}</button>
      </div>
      {shown.length === 0 ? <Empty title="Waiting for events">They are shown as they pass.</Empty> : (
        <ol class="events" aria-live="off">
          {shown.map((each) => (
            <li key={`${each.id} ${each.rule} ${each.at}`}>
              <time>{new Date(each.at).toLocaleTimeString()}</time>
              <div>
                <p class="hint">{[each.source && `from ${each.source}`, each.rule && `by ${each.rule}`, each.key && `key ${each.key}`].filter(Boolean).join(", ")}</p>
                <pre>{JSON.stringify(each.columns, null, 1).replace(/\n\s*/g, " ")}</pre>
              </div>
            </li>
          ))}
        </ol>
      )}
    </>
  );
}
