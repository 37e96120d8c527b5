import type { JSX } from "preact";
import { plugins } from "../api";
import { Card, Notice, Page, useLoad } from "../parts";

export function Plugins(): JSX.Element {
  const found = useLoad(plugins);
  return (
    <Page title="Plugins" lead="What is installed, what it brings, and what is wrong with it.">
      {found.error && <Notice>{found.error}</Notice>}
      <Card>
        <div class="scroll" tabIndex={0} role="region" aria-label="Plugins">
          <table>
            <thead><tr><th scope="col">Name</th><th scope="col">From</th><th scope="col">Brings</th><th scope="col">State</th></tr></thead>
            <tbody>
              {(found.value ?? []).map((each) => (
                <tr key={each.name} data-name={each.name}>
                  <th scope="row">{each.name}</th>
                  <td>{each.distribution} {each.version}</td>
                  <td>{each.provides.map((part) => <span class="tag" key={part}>{part}</span>)}</td>
                  <td>{each.error ? <span class="error">{each.error}</span> : each.disabled ? "disabled" : <span class="chip running"><span class="dot" aria-hidden="true" />loaded</span>}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </Card>
    </Page>
  );
}
