// Look at events as they pass a part of the pipeline.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { status } from "../live";
import { Card, Empty, Page } from "../parts";
import { href, route, setQuery } from "../route";
import { Events } from "../tapped";
import type { PartKind } from "../types";

const KINDS: PartKind[] = ["sources", "rules", "sinks"];

export function Tap(): JSX.Element {
  const now = status.value;
  const all = KINDS.flatMap((kind) => Object.keys(now?.[kind] ?? {}).map((name): [PartKind, string] => [kind, name]));
  const node = route.value.query.get("node") ?? "";
  const topic = route.value.query.get("topic") ?? "";
  const [typed, setTyped] = useState(topic);
  const text = route.value.query.get("text") ?? "";
  const known = all.some(([kind, name]) => `${kind.slice(0, -1)}:${name}` === node);
  return (
    <Page title="Tap" lead="Events as they pass, at most fifty a second, with secrets starred out. To look changes nothing.">
      <Card>
        <form class="filter" onSubmit={(event) => { event.preventDefault(); setQuery({ node, topic: typed, text }); }}>
          <select aria-label="Where to look" value={node} onChange={(event) => setQuery({ node: event.currentTarget.value, topic, text })}>
            <option value="">Choose a part…</option>
            {all.map(([kind, name]) => <option key={kind + name} value={`${kind.slice(0, -1)}:${name}`}>{kind.slice(0, -1)} {name}</option>)}
          </select>
          <input type="text" aria-label="Only topics that match" placeholder="Topic filter, such as plant/#" value={typed} onInput={(event) => setTyped(event.currentTarget.value)} onBlur={() => setQuery({ node, topic: typed, text })} />
          <input type="search" aria-label="Only events with this text" placeholder="Only with this text" value={text} onInput={(event) => setQuery({ node, topic, text: event.currentTarget.value })} />
        </form>
        {node && known ? <Events key={node} node={node} topic={topic} text={text} /> : <Empty title={node && now ? `There is no ${node.replace(":", " ")}` : "Nothing is tapped"}>{all.length > 0 ? "Choose a source, a rule or a sink above." : <a href={href("overview")}>Nothing flows yet: first steps</a>}</Empty>}
      </Card>
    </Page>
  );
}
