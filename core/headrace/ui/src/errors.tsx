// What went wrong, by reason: how often, when, and what the peer said.
import type { JSX } from "preact";
import { DERIVED } from "./meanings";
import { Ago, Card, number } from "./parts";
import { href } from "./route";
import type { PartKind, Trouble } from "./types";

/** Of one part. */
export function Errors({ errors }: { errors: Trouble[] }): JSX.Element | null {
  if (errors.length === 0) return null;
  return <Card title="What went wrong"><List rows={errors.map((each) => ({ each }))} /></Card>;
}

export interface Somewhere {
  each: Trouble;
  kind?: PartKind;
  name?: string;
}

export function List({ rows }: { rows: Somewhere[] }): JSX.Element {
  return (
    <ul class="troubles" aria-label="Errors by reason, the newest first">
      {rows.map(({ each, kind, name }) => (
        <li key={`${kind} ${name} ${each.reason}`}>
          {kind && name && <span class="where"><span class="hint">{kind.slice(0, -1)}</span> <a href={href(kind, name)}>{name}</a></span>}
          <div>
            <span class="error">{each.reason}</span>
            {(each.status !== null || each.said) && <code class="excerpt" title="The status and the first 200 bytes of the last answer">{each.status !== null && <strong>{each.status}</strong>} {each.said}</code>}
          </div>
          <span class="count num" title={DERIVED.count}>×{number(each.count)}</span>
          <span class="hint when">{each.count > 1 && <>first <Ago at={each.first} />, </>}last <Ago at={each.last} /></span>
        </li>
      ))}
    </ul>
  );
}
