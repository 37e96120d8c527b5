// The files of the configuration: look, change, compare, save; and what all of them mean together.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError, checkConfig, config, reloadConfig, saveConfig, type Changed, type Config } from "../api";
import { Editor, type Problem } from "../editor";
import { look, status } from "../live";
import { Act, Ago, Card, Dialog, Empty, Notice, Page, Tabs, told, useLoad } from "../parts";
import { href, route, setQuery } from "../route";
import { mayAct, mayChange, whyNot } from "../who";

const EFFECTIVE = "effective";

export function Configuration(): JSX.Element {
  const now = status.value?.config;
  const loaded = useLoad(config, `${now?.generation} ${now?.error_at}`);
  const [error, setError] = useState("");
  const [done, setDone] = useState<Changed | null>(null);
  const found = loaded.value;
  const reload = async () => {
    setDone(null);
    try {
      setDone(await reloadConfig());
    } finally {
      await Promise.all([look(), loaded.again()]);
    }
  };
  return (
    <Page
      title="Configuration"
      lead={found && <>Configuration {found.generation}, since <Ago at={found.since} />. What is saved here is written to the file, comments and all, and goes on running at once.</>}
      actions={mayAct.value && <Act title="Read the files again, as they are on disk" failed={setError} run={reload}>Reload</Act>}
    >
      {(error || loaded.error) && <Notice>{error || loaded.error}</Notice>}
      {found?.error && !error && <Notice>The configuration read <Ago at={found.error_at} /> was not applied; the one before goes on.{"\n"}{found.error}</Notice>}
      {whyNot.value && <Notice kind="warn">{whyNot.value}</Notice>}
      {done && <Notice kind="good">Configuration {done.generation} runs. <Changes changed={done} /></Notice>}
      {found && <Files found={found} again={loaded.again} saved={async (changed) => { setDone(changed); setError(""); await Promise.all([look(), loaded.again()]); }} />}
      {!found && !loaded.error && <p class="hint">Loading…</p>}
    </Page>
  );
}

interface Shown {
  saved: (changed: Changed) => Promise<void>;
  /** Load the files once more: somebody else changed one. */
  again: () => Promise<void>;
}

function Files({ found, ...shared }: Shown & { found: Config }): JSX.Element {
  const asked = route.value.query.get("file") ?? "";
  const files = new Map(found.files.map((each) => [each.file, each.text]));
  const shown = asked === EFFECTIVE || files.has(asked) ? asked : (found.files[0]?.file ?? EFFECTIVE);
  const tabs = Object.fromEntries([...found.files.map(({ file }) => [file, shortest(file, [...files.keys()])]), [EFFECTIVE, "What it means"]]) as Record<string, string>;
  return (
    <Card>
      <Tabs label="Files" tabs={tabs} now={shown} choose={(file) => setQuery({ file })} />
      {shown === EFFECTIVE ? (
        <>
          <p class="hint">All files together, checked, with placeholders filled in and secrets starred out.</p>
          <Editor language="yaml" label="The configuration as it is understood" value={found.effective} />
        </>
      ) : (
        <File key={shown} file={shown} text={files.get(shown) ?? ""} {...shared} />
      )}
    </Card>
  );
}

/** As much of the end of a path as tells the files apart. */
function shortest(file: string, files: string[]): string {
  const parts = file.split("/");
  for (let n = 1; n < parts.length; n++) {
    const end = parts.slice(-n).join("/");
    if (files.filter((each) => each.endsWith(`/${end}`)).length <= 1) return end;
  }
  return file;
}

function File({ file, text: before, saved, again }: Shown & { file: string; text: string }): JSX.Element {
  const [text, setText] = useState(before);
  const [base, setBase] = useState(before);
  const [problems, setProblems] = useState<Problem[]>([]);
  const [error, setError] = useState("");
  const [review, setReview] = useState<(Changed & { diff: string }) | null>(null);
  const touched = text !== base;
  useEffect(() => {
    if (!touched) setText(before); // what somebody is writing stays
    if (!touched || text === before) setBase(before);
  }, [before]);
  const check = async (typed: string): Promise<Problem[]> => {
    const wrong = await faults(file, typed, base, again);
    setProblems(wrong);
    return wrong;
  };
  /** A change by somebody else is shown in place of what was asked for. */
  const unless = async (ask: () => Promise<unknown>) => {
    try {
      await ask();
    } catch (failure) {
      if (!isChanged(failure)) throw failure;
      setReview(null);
      await again();
    }
  };
  return (
    <>
      <p class="hint"><code>{file}</code></p>
      {before !== base && (
        <Notice kind="warn">
          <strong>Somebody else changed this file meanwhile.</strong> Nothing is saved before you choose.
          <div class="buttons start">
            <button type="button" onClick={() => { setText(before); setBase(before); }}>Take theirs</button>
            <button type="button" title="The review then shows what your text takes back of theirs" onClick={() => setBase(before)}>Keep mine, and compare</button>
          </div>
        </Notice>
      )}
      <Editor language="yaml" label={`Text of ${file}`} value={text} check={check} {...(mayChange.value ? { change: setText } : {})} />
      {problems.length > 0 && (
        <ul class="faults" aria-label="Faults">
          {problems.map((each) => <li key={each.message}>{each.line !== undefined && <strong>Line {each.line}: </strong>}{each.message}</li>)}
        </ul>
      )}
      {error && <Notice>{error}</Notice>}
      {mayChange.value && (
        <div class="buttons">
          <button type="button" disabled={!touched} onClick={() => { setText(before); setBase(before); setError(""); }}>Undo all</button>
          <Act class="primary" disabled={!touched || before !== base} failed={setError} run={() => unless(async () => setReview(await checkConfig(file, text, base)))}>Review and save</Act>
        </div>
      )}
      {review && (
        <Dialog wide title="Save this?" close={() => setReview(null)}>
          <Diff text={review.diff} />
          <p><Changes changed={review} /></p>
          {review.warnings.map((each) => <Notice kind="warn" key={each}>{each}</Notice>)}
          {error && <Notice>{error}</Notice>}
          <div class="buttons">
            <button type="button" onClick={() => setReview(null)}>Cancel</button>
            <Act class="primary" failed={setError} run={() => unless(async () => { const changed = await saveConfig(file, text, base); setBase(text); setReview(null); await saved(changed); })}>Save</Act>
          </div>
        </Dialog>
      )}
    </>
  );
}

const isChanged = (failure: unknown): boolean => failure instanceof ApiError && failure.code === "CHANGED";

/** What is wrong with a text of this file, each at its place; faults of other files say where they are. */
async function faults(file: string, text: string, base: string, changed: () => Promise<void>): Promise<Problem[]> {
  try {
    await checkConfig(file, text, base);
    return [];
  } catch (failure) {
    if (isChanged(failure)) {
      await changed();
      return [];
    }
    if (!(failure instanceof ApiError) || failure.status !== 400) return [{ message: told(failure) }];
    const known = failure.more.problems;
    if (!known) return [{ message: failure.message }];
    return known.map((each) => (each.file === file ? { message: each.message, line: each.line, column: each.column } : { message: `${each.file}:${each.line}: ${each.message}` }));
  }
}

function Diff({ text }: { text: string }): JSX.Element {
  if (!text) return <Empty title="No difference">The file would stay as it is.</Empty>;
  const lines = text.trimEnd().split("\n").slice(2); // without the names of the file
  return (
    <pre class="diff" tabIndex={0} role="region" aria-label="The difference">
      {lines.map((line, index) => <span key={index} class={line.startsWith("+") ? "added" : line.startsWith("-") ? "removed" : line.startsWith("@") ? "place" : ""}>{`${line}\n`}</span>)}
    </pre>
  );
}

function Changes({ changed }: { changed: Changed }): JSX.Element {
  const told = Object.entries(changed.changed).flatMap(([kind, ways]) => Object.entries(ways).map(([how, names]) => ({ kind, how, names })));
  if (told.length === 0) return <>Nothing that runs is changed by it.</>;
  return (
    <>
      {told.map(({ kind, how, names }, index) => (
        <span key={kind + how}>{index > 0 && "; "}{kind} {how}: {names.map((name, n) => <span key={name}>{n > 0 && ", "}{how === "removed" ? name : <a href={href(kind, name)}>{name}</a>}</span>)}</span>
      ))}
      .
    </>
  );
}
