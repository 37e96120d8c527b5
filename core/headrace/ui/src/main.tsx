import { signal } from "@preact/signals";
import { render } from "preact";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { status, trouble } from "./live";
import { signedOut } from "./api";
import { Icon } from "./icons";
import { DERIVED } from "./meanings";
import { Act, Empty, Notice, Page, number, useLoad } from "./parts";
import { href, route } from "./route";
import type { PartKind } from "./types";
import { DeadLetters } from "./pages/dead";
import { PartDetail } from "./pages/detail";
import { Flow } from "./pages/flow";
import { PartList } from "./pages/list";
import { Overview } from "./pages/overview";
import { Rules } from "./pages/rules";
import { Plugins } from "./pages/plugins";
import { SignIn } from "./pages/signin";
import { Tap } from "./pages/tap";
import { me, signOut } from "./who";
import "./style.css";

const NAV: [string, string][] = [
  ["overview", "Overview"],
  ["sources", "Sources"],
  ["connectors", "Connectors"],
  ["rules", "Rules"],
  ["sinks", "Sinks"],
  ["flow", "Flow"],
  ["dead", "Dead letters"],
  ["tap", "Tap"],
  ["config", "Configuration"],
  ["plugins", "Plugins"],
];

/** A page that is loaded when somebody goes there: the editors are most of the dashboard's bytes. */
function later<P extends object>(load: () => Promise<(props: P) => JSX.Element>): (props: P) => JSX.Element {
  return (props) => {
    const { value: Loaded, error } = useLoad<{ page: (props: P) => JSX.Element }>(async () => ({ page: await load() }));
    if (Loaded) return <Loaded.page {...props} />;
    return error ? <Notice>{error}</Notice> : <p class="hint">Loading…</p>;
  };
}

const Configuration = later(async () => (await import("./pages/config")).Configuration);
const RuleEdit = later(async () => (await import("./pages/rule")).RuleEdit);

type Theme = "" | "light" | "dark";
const theme = signal<Theme>((localStorage.getItem("headrace.theme") ?? "") as Theme);

function setTheme(next: Theme): void {
  theme.value = next;
  localStorage.setItem("headrace.theme", next);
  applyTheme();
}

function applyTheme(): void {
  if (theme.value) document.documentElement.dataset["theme"] = theme.value;
  else delete document.documentElement.dataset["theme"];
}

function View(): JSX.Element {
  const { page, name } = route.value;
  switch (page) {
    case "overview":
      return <Overview />;
    case "sources":
    case "connectors":
    case "sinks":
      return name ? <PartDetail key={page + name} kind={page as PartKind} name={name} /> : <PartList key={page} kind={page as PartKind} />;
    case "rules":
      return name ? <RuleEdit key={name} name={name === "new" ? "" : name} /> : <Rules />;
    case "flow":
      return <Flow />;
    case "dead":
      return <DeadLetters />;
    case "tap":
      return <Tap />;
    case "config":
      return <Configuration />;
    case "plugins":
      return <Plugins />;
    default:
      return (
        <Page title="Not found">
          <Empty title="There is no such page"><a href={href("overview")}>To the overview</a></Empty>
        </Page>
      );
  }
}

function Pages({ page }: { page: string }): JSX.Element {
  const list = useRef<HTMLUListElement>(null);
  const held = status.value?.stream.dead_letters["held"] ?? 0;
  useEffect(() => {
    // on a phone they are in one row, which is longer than the phone is wide
    const current = list.current?.querySelector<HTMLElement>("[aria-current]");
    if (list.current && current) list.current.scrollLeft = current.offsetLeft - (list.current.clientWidth - current.offsetWidth) / 2;
  }, [page]);
  return (
    <ul ref={list}>
      {NAV.map(([key, label]) => (
        <li key={key}>
          <a href={href(key)} aria-current={page === key ? "page" : undefined}>
            <Icon of={key} />{label}
            {key === "dead" && held > 0 && <span class="badge" title={DERIVED.held}>{number(held)}<span class="hidden"> held</span></span>}
          </a>
        </li>
      ))}
    </ul>
  );
}

function App(): JSX.Element {
  if (signedOut.value) return <SignIn />;
  const { page } = route.value;
  const now = status.value;
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>Skip to the content</a>
      <nav aria-label="Pages">
        <a class="brand" href={href("overview")}><img src="./icon.svg" alt="" width="28" height="28" /> headrace</a>
        <Pages page={page} />
        <footer>
          {now && <p class="where" title={now.reason || undefined}><span class={`dot ${now.state}`} aria-hidden="true" /> {now.name}: {now.state}</p>}
          {me.value && !me.value.open && <p class="who">{me.value.name} ({me.value.role}) <Act class="quiet" run={signOut}>Sign out</Act></p>}
          {me.value?.read_only && <p class="who">read-only</p>}
          <label>Colours{" "}
            <select value={theme.value} onChange={(event) => setTheme(event.currentTarget.value as Theme)}>
              <option value="">as the system</option><option value="light">light</option><option value="dark">dark</option>
            </select>
          </label>
        </footer>
      </nav>
      <main id="main" tabIndex={-1}>
        {trouble.value && <div class="verdict bad" role="alert"><span aria-hidden="true">!</span> <strong>No live numbers.</strong> {trouble.value}</div>}
        <View />
      </main>
    </>
  );
}

applyTheme();
render(<App />, document.getElementById("app") as HTMLElement);
