// Sources, rules and sinks as a graph with what flows between them.
import type { JSX } from "preact";
import { parts } from "../api";
import { rate, status } from "../live";
import { Ago, Card, Chip, Empty, Page, number, perSecond, useLoad } from "../parts";
import { href, route } from "../route";
import { Events } from "../tapped";
import type { Options, Part } from "../types";
import { sinksOf, sourcesOf } from "./ruleparts";

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
  const chosen = nodes.find((each) => idOf(each) === route.value.query.get("node"));
  return (
    <Page title="Flow" lead="Sources, rules and sinks, with what flows between them now. Choose one to see its events.">
      <Card>
        {nodes.length === 0 ? <Empty title="Nothing flows yet"><a href={href("overview")}>First steps</a></Empty> : <Graph nodes={nodes} rules={rules.value} height={height} />}
      </Card>
      {chosen && <Looked key={idOf(chosen)} node={chosen} />}
    </Page>
  );
}

const idOf = ({ kind, name }: Node): string => `${kind.slice(0, -1)}:${name}`;

/** The part that somebody chose: how it is, and its events as they pass. */
function Looked({ node }: { node: Node }): JSX.Element {
  const { kind, name, part } = node;
  return (
    <Card title={`Events of ${kind.slice(0, -1)} ${name}`} actions={<a href={href(kind, name)}>Open {name}</a>}>
      <p class="hint"><Chip state={part.state} why={part.reason} /> {part.reason} {part.last_error && part.last_error !== part.reason && <span class="error">Last error: {part.last_error} (<Ago at={part.last_error_at} />)</span>}</p>
      <Events node={idOf(node)} />
    </Card>
  );
}

function Graph({ nodes, rules, height }: { nodes: Node[]; rules: Options[]; height: number }): JSX.Element {
  const find = (kind: Kind, name: string) => nodes.find((node) => node.kind === kind && node.name === name);
  const edges = rules.flatMap((rule) => {
    const node = find("rules", String(rule["name"]));
    if (!node) return [];
    const names = sourcesOf(rule);
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
  const moving = comes(to) > 0 && rate(from.kind, from.name, MAIN[from.kind]) > 0;
  const middle = (x1 + x2) / 2;
  return (
    <g class={moving ? "edge moving" : "edge"} data-from={from.name} data-to={to.name}>
      <path d={`M${x1},${y1} C${middle},${y1} ${middle},${y2} ${x2},${y2}`} />
    </g>
  );
}

/** Events per second that a rule or a sink gets. */
const comes = ({ kind, name }: Node): number => rate(kind, name, kind === "sources" ? "received" : "matched");

function Box({ node }: { node: Node }): JSX.Element {
  const { kind, name, part } = node;
  const count = number(part.counters[MAIN[kind]]);
  const shown = name.length > 22 ? `${name.slice(0, 21)}…` : name;
  const perSec = comes(node);
  const waiting = kind === "sinks" ? (part.counters["queuing"] ?? 0) + (part.counters["inflight"] ?? 0) : 0;
  const state = part.reason && part.reason !== part.state ? `${part.state}: ${part.reason}` : part.state;
  const told = `${count} ${TOLD[kind]}${waiting > 0 ? `, ${number(waiting)} wait` : ""}`;
  return (
    <a href={href("flow", "", { node: idOf(node) })} aria-current={route.value.query.get("node") === idOf(node) || undefined} class={`node ${part.state}`} data-name={name}>
      <rect x={node.x} y={node.y} width={WIDTH} height={HEIGHT} rx="8"><title>{state}</title></rect>
      <rect class="state" x={node.x} y={node.y} width="5" height={HEIGHT} rx="2.5" role="img" aria-label={`${kind.slice(0, -1)}, ${state}:`} />
      <text class="name" x={node.x + 16} y={node.y + 26}>{shown}</text>
      <text class="count" x={node.x + 16} y={node.y + 48}>{told}</text>
      {perSec > 0 && <text class="rate" x={kind === "sources" ? node.x + WIDTH + 8 : node.x - 8} y={node.y + HEIGHT / 2 - 7} text-anchor={kind === "sources" ? "start" : "end"}>{perSecond(perSec)}</text>}
    </a>
  );
}
