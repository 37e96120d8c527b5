// Sources, rules and sinks as a graph with what flows between them.
import type { JSX } from "preact";
import { parts } from "../api";
import { waiting } from "../columns";
import { Errors } from "../errors";
import { rate, status } from "../live";
import { DERIVED, meaning, perSecondOf } from "../meanings";
import { Card, Chip, Empty, Page, ails, number, perSecond, size, useLoad } from "../parts";
import { href, route } from "../route";
import { Events } from "../tapped";
import type { Options, Part } from "../types";
import { sinksOf, sourcesOf } from "./ruleparts";

const WIDTH = 200;
const HEIGHT = 64;
const GAP_X = 120;
const GAP_Y = 24;
const HEAD = 20;
const KINDS = ["sources", "rules", "sinks"] as const;
type Kind = (typeof KINDS)[number];
const MAIN: Record<Kind, string> = { sources: "received", rules: "passed", sinks: "success" };
const TOLD: Record<Kind, string> = { sources: "received", rules: "passed", sinks: "delivered" };

const PRESSED = { "": "", slow: ", events back up", blocked: ", events are held back" };

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
    <>
      <Errors errors={part.errors} />
      <Card title={`Events of ${kind.slice(0, -1)} ${name}`} actions={<a href={href(kind, name)}>Open {name}</a>}>
        <p class="hint"><Chip part={part} /> {part.reason}</p>
        <Events node={idOf(node)} />
      </Card>
    </>
  );
}

/** How much a sink holds up what comes before it. */
type Pressure = "" | "slow" | "blocked";
const MUCH = 0.8;
const LITTLE = 0.01; // what is just under way is not worth a bar

/** Of its buffer, how much is used; from 0 to 1. */
function filled({ kind, name, part }: Node): number {
  const room = status.value?.stream.topics[`sink.${name}`]?.max_bytes;
  return kind === "sinks" && room ? Math.min(1, (part.counters["queuing_bytes"] ?? 0) / room) : 0;
}

function pressure(node: Node): Pressure {
  const { kind, name, part } = node;
  const by = status.value?.stream.blocked_by;
  if (by === name || (by && kind !== "sinks")) return "blocked";
  if (kind !== "sinks" || waiting(part) === 0) return "";
  if (filled(node) >= MUCH) return "blocked";
  const old = (part.counters["queuing_age"] ?? 0) > 2; // seconds: what is just under way is no queue
  return old && rate("sinks", name, "success") <= rate("sinks", name, "matched") ? "slow" : "";
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
    <>
      <div class="scroll" tabIndex={0} role="region" aria-label="The flow of events">
        <svg class="flow" viewBox={`0 0 ${width} ${height + HEAD}`} width={width} height={height + HEAD} role="group" aria-label={`${nodes.length} parts, ${edges.length} connections`}>
          {KINDS.map((kind, column) => <text class="head" key={kind} x={column * (WIDTH + GAP_X) + 1} y={16}>{kind.charAt(0).toUpperCase() + kind.slice(1)}</text>)}
          <g transform={`translate(0 ${HEAD})`}>
            {edges.map(([from, to]) => <Edge key={`${from.kind}${from.name}>${to.kind}${to.name}`} from={from} to={to} />)}
            {nodes.map((node) => <Box key={node.kind + node.name} node={node} />)}
            {nodes.map((node) => <Pace key={node.kind + node.name} node={node} />)}
          </g>
        </svg>
      </div>
      <ul class="legend" aria-label="What the lines mean">
        <li class="moving">events flow</li>
        <li class="slow">they back up: more comes than goes</li>
        <li class="blocked">the buffer is full, or nearly: rules and sources wait</li>
      </ul>
    </>
  );
}

function Edge({ from, to }: { from: Node; to: Node }): JSX.Element {
  const [x1, y1, x2, y2] = [from.x + WIDTH, from.y + HEIGHT / 2, to.x, to.y + HEIGHT / 2];
  const moving = comes(to) > 0 && rate(from.kind, from.name, MAIN[from.kind]) > 0;
  const middle = (x1 + x2) / 2;
  return (
    <g class={`edge ${moving ? "moving" : ""} ${pressure(to)}`} data-from={from.name} data-to={to.name}>
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
  const waits = kind === "sinks" ? waiting(part) : 0;
  const told = `${count} ${TOLD[kind]}${waits > 0 ? `, ${number(waits)} wait` : ""}`;
  const why = `${meaning(kind, MAIN[kind])}.${waits > 0 ? ` ${DERIVED.waiting}.` : ""}`;
  const pressed = pressure(node);
  const state = `${part.state}${part.reason && part.reason !== part.state ? `: ${part.reason}` : ""}${PRESSED[pressed]}`;
  const full = filled(node);
  return (
    <a href={href("flow", "", { node: idOf(node) })} aria-current={route.value.query.get("node") === idOf(node) || undefined} class={`node ${ails(part) ? "ill" : part.state} ${pressed}`} data-name={name}>
      <rect x={node.x} y={node.y} width={WIDTH} height={HEIGHT} rx="8"><title>{`${state}. ${why}`}</title></rect>
      <rect class="state" x={node.x} y={node.y} width="5" height={HEIGHT} rx="2.5" role="img" aria-label={`${kind.slice(0, -1)}, ${state}:`} />
      <text class="name" x={node.x + 16} y={node.y + 26}>{shown}</text>
      <text class="count" x={node.x + 16} y={node.y + 46}>{told}</text>
      {(full >= LITTLE || (full > 0 && pressed)) && (
        <g class="buffer">
          <title>{`${Math.ceil(full * 100)} % of the buffer is used: ${size(part.counters["queuing_bytes"] ?? 0)}`}</title>
          <rect class="room" x={node.x + 16} y={node.y + HEIGHT - 10} width={WIDTH - 32} height="4" rx="2" />
          <rect class="used" x={node.x + 16} y={node.y + HEIGHT - 10} width={Math.max(4, (WIDTH - 32) * full)} height="4" rx="2" />
        </g>
      )}
    </a>
  );
}

/** What comes to a part now, beside it. */
function Pace({ node }: { node: Node }): JSX.Element | null {
  const { kind, x, y } = node;
  const pace = comes(node);
  if (pace === 0) return null;
  const place = kind === "sources" ? { x: x + WIDTH + 8, "text-anchor": "start" as const } : { x: x - 8, "text-anchor": "end" as const };
  return <text class="rate" y={y + HEIGHT / 2 - 7} {...place}>{perSecond(pace)}<title>{perSecondOf(kind, kind === "sources" ? "received" : "matched")}</title></text>;
}
