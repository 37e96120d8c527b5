import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { enable, parts, remove } from "../api";
import { Cells, Heads } from "../columns";
import { look, status } from "../live";
import { Ago, Card, Chip, Confirm, Empty, Notice, Page, Switch, told, useLoad } from "../parts";
import { href, route, setQuery } from "../route";
import type { Options } from "../types";
import { mayChange, whyNot } from "../who";
import { sinksOf, sqlOf } from "./ruleparts";

export function Rules(): JSX.Element {
  const [error, setError] = useState("");
  const [removing, setRemoving] = useState("");
  const live = status.value?.rules ?? {};
  const known = useLoad(() => parts("rules"), `${status.value?.config?.generation ?? 0}`);
  const options = new Map((known.value ?? []).map((each): [string, Options] => [String(each["name"]), each]));
  const filter = route.value.query.get("find") ?? "";
  const rows = Object.entries(live).filter(([name]) => `${name} ${sqlOf(options.get(name))}`.toLowerCase().includes(filter.toLowerCase()));
  return (
    <Page title="Rules" lead="Which events go where, in SQL." actions={mayChange.value && <a class="button primary" href={href("rules", "new")}>Create rule</a>}>
      {error && <Notice>{error}</Notice>}
      <Card>
        {Object.keys(live).length === 0 ? (
          <Empty title="No rules yet">A rule reads events with SQL and gives what it selects to sinks. {mayChange.value ? "Create one with the button above." : whyNot.value}</Empty>
        ) : (
          <>
            <div class="filter"><input type="search" aria-label="Find a rule by name or SQL" placeholder="Find by name or SQL" value={filter} onInput={(event) => setQuery({ find: event.currentTarget.value })} /></div>
            <div class="scroll" tabIndex={0} role="region" aria-label="Rules">
              <table>
                <thead>
                  <tr>
                    <th scope="col">Name</th><th scope="col">State</th><th scope="col">SQL</th><th scope="col">To</th>
                    <Heads kind="rules" />
                    <th scope="col">Enabled</th><th scope="col"><span class="hidden">Actions</span></th>
                  </tr>
                </thead>
                <tbody>
                  {rows.map(([name, part]) => (
                    <tr key={name} data-name={name}>
                      <th scope="row"><a href={href("rules", name)}>{name}</a></th>
                      <td><Chip part={part} />{part.last_error && <small class="error clip" title={part.last_error}> {part.last_error} <Ago at={part.last_error_at} /></small>}</td>
                      <td><code class="clip" title={sqlOf(options.get(name))}>{sqlOf(options.get(name))}</code></td>
                      <td>{sinksOf(options.get(name)).map((sink) => <a key={sink} class="tag" href={href("sinks", sink)}>{sink}</a>)}</td>
                      <Cells kind="rules" name={name} part={part} />
                      <td><Switch on={part.state !== "disabled"} disabled={!mayChange.value} label={`${name} enabled`} change={(on) => void enable("rules", name, on).then(look, (failure: unknown) => setError(told(failure)))} /></td>
                      <td class="num">{mayChange.value && <button type="button" class="quiet" aria-label={`Delete ${name}`} onClick={() => setRemoving(name)}>Delete</button>}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </>
        )}
      </Card>
      {removing && (
        <Confirm title={`Delete ${removing}?`} act="Delete" close={() => setRemoving("")} run={() => remove("rules", removing).then(look)}>
          <p>It is taken out of the configuration file, too. Its sinks stay.</p>
        </Confirm>
      )}
    </Page>
  );
}
