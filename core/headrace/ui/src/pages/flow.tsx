// Sources, rules and sinks as a graph with what flows between them.
import type { JSX } from "preact";
import { parts } from "../api";
import { rate, status } from "../live";
import { Card, Empty, Page, number, perSecond, useLoad } from "../parts";
import { href } from "../route";
import type { Options, Part, PartKind } from "../types";
import { sinksOf } from "./ruleparts";

const WIDTH = 200;
const HEIGHT = 64;
const GAP_X = 120;
const GAP_Y = 24;
const KINDS = ["sources", "rules", "sinks"] as const;
type Kind = (typeof KINDS)[number];
const MAIN: Record<Kind, string> = { sources: "received", rules: "passed", sinks: "success" };
const TOLD: Record<Kind, string> = { sources: "received", rules: "passed", sinks: "delivered" };

interface Node {
  kind: Kind;
  name: string;
  part: Part;
  x: number;
  y: number;
}

export function Flow(): JSX.Element {
  const now = status.value;
  const rules = useLoad(() => parts("rules"), `${now?.config?.generation ?? 0}`);
  if (!now || !rules.value) return <Page title="Flow"><p class="hint">{rules.error || "Loading…"}</p></Page>;
  const tall = Math.max(...KINDS.map((kind) => Object.keys(now[kind]).length), 1);
  const height = tall * (HEIGHT + GAP_Y) + GAP_Y;
  const nodes = KINDS.flatMap((kind, column): Node[] => {
    const all = Object.entries(now[kind]);
    const top = (height - all.length * (HEIGHT + GAP_Y) + GAP_Y) / 2;
    return all.map(([name, part], row) => ({ kind, name, part, x: column * (WIDTH + GAP_X) + 1, y: top + row * (HEIGHT + GAP_Y) }));
  });
  return (
    <Page title="Flow" lead="Sources, rules and sinks, with what flows between them now.">
      <Card>
        {nodes.length === 0 ? <Empty title="Nothing flows yet"><a href={href("overview")}>First steps</a></Empty> : <Graph nodes={nodes} rules={rules.value} height={height} />}
      </Card>
    </Page>
  );
}

function Graph({ nodes, rules, height }: { nodes: Node[]; rules: Options[]; height: number }): JSX.Element {
  const find = (kind: Kind, name: string) => nodes.find((node) => node.kind === kind && node.name === name);
  const edges = rules.flatMap((rule) => {
    const node = find("rules", String(rule["name"]));
    if (!node) return [];
    const wanted = rule["sources"];
    const names = typeof wanted === "string" ? [wanted] : Array.isArray(wanted) && wanted.length > 0 ? wanted.map(String) : null;
    const sources = nodes.filter((each) => each.kind === "sources" && (!names || names.includes(each.name)));
    const sinks = sinksOf(rule).map((name) => find("sinks", name)).filter((each) => each !== undefined);
    return [...sources.map((from): [Node, Node] => [from, node]), ...sinks.map((to): [Node, Node] => [node, to])];
  });
  const width = 3 * WIDTH + 2 * GAP_X + 2;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="The flow of events">
      <svg class="flow" viewBox={`0 0 ${width} ${height}`} width={width} height={height} role="group" aria-label={`${nodes.length} parts, ${edges.length} connections`}>
        {edges.map(([from, to]) => <Edge key={`${from.kind}${from.name}>${to.kind}${to.name}`} from={from} to={to} />)}
        {nodes.map((node) => <Box key={node.kind + node.name} node={node} />)}
      </svg>
    </div>
  );
}

function Edge({ from, to }: { from: Node; to: Node }): JSX.Element {
  const [x1, y1, x2, y2] = [from.x + WIDTH, from.y + HEIGHT / 2, to.x, to.y + HEIGHT / 2];
  const perSec = from.kind === "sources" ? rate("rules", to.name, "matched") : rate("sinks", to.name, "matched");
  const middle = (x1 + x2) / 2;
  return (
    <g class={perSec > 0 ? "edge moving" : "edge"} data-from={from.name} data-to={to.name}>
      <path d={`M${x1},${y1} C${middle},${y1} ${middle},${y2} ${x2},${y2}`} />
      {perSec > 0 && <text x={middle} y={(y1 + y2) / 2 - 6}>{perSecond(perSec)}</text>}
    </g>
  );
}

function Box({ node }: { node: Node }): JSX.Element {
  const { kind, name, part } = node;
  const count = number(part.counters[MAIN[kind]]);
  const waiting = kind === "sinks" ? (part.counters["queuing"] ?? 0) + (part.counters["inflight"] ?? 0) : 0;
  return (
    <a href={href(kind as PartKind, name)} class={`node ${part.state}`} data-name={name}>
      <title>{`${kind.slice(0, -1)}, ${part.state}${part.reason && part.reason !== part.state ? `: ${part.reason}` : ""}: `}</title>
      <rect x={node.x} y={node.y} width={WIDTH} height={HEIGHT} rx="8" />
      <rect class="state" x={node.x} y={node.y} width="5" height={HEIGHT} rx="2.5" />
      <text class="name" x={node.x + 16} y={node.y + 26}>{name.length > 22 ? `${name.slice(0, 21)}…` : name}</text>
      <text class="count" x={node.x + 16} y={node.y + 48}>{count} {TOLD[kind]}{waiting > 0 ? `, ${number(waiting)} wait` : ""}</text>
    </a>
  );
}
