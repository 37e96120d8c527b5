// CodeMirror for SQL and YAML, in the colours of the page.
import { autocompletion, completeFromList, completionKeymap, type Completion, type CompletionContext } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { SQLDialect, sql } from "@codemirror/lang-sql";
import { yaml } from "@codemirror/lang-yaml";
import { HighlightStyle, bracketMatching, indentOnInput, syntaxHighlighting } from "@codemirror/language";
import { type Diagnostic, lintGutter, linter } from "@codemirror/lint";
import { EditorState, type Extension } from "@codemirror/state";
import { EditorView, drawSelection, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

export interface Problem {
  message: string;
  severity?: "error" | "warning";
  line?: number | undefined;
  column?: number | undefined;
}

interface Props {
  language: "sql" | "yaml";
  value: string;
  change?: (value: string) => void;
  /** What is wrong with a text; asked a moment after each change. */
  check?: (value: string) => Promise<Problem[]>;
  words?: Completion[];
  label: string;
}

const EMQX = SQLDialect.define({
  keywords: "select from where as and or not in case when then else end foreach do incase div mod is null like",
  types: "",
  builtin: "payload topic qos clientid username timestamp flags headers retain peerhost",
  doubleQuotedStrings: true,
  operatorChars: "*+-%<>!=~",
});

const COLOURS = HighlightStyle.define([
  { tag: tags.keyword, color: "var(--code-keyword)", fontWeight: "600" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--code-string)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--code-number)" },
  { tag: tags.comment, color: "var(--muted)", fontStyle: "italic" },
  { tag: [tags.standard(tags.name), tags.propertyName, tags.definition(tags.propertyName)], color: "var(--code-name)" },
]);

const LOOK = EditorView.theme({
  "&": { fontSize: "0.875rem", backgroundColor: "var(--field)", border: "1px solid var(--field-line)", borderRadius: "6px" },
  "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "1px" },
  ".cm-content": { fontFamily: "var(--mono)", minHeight: "6rem", caretColor: "var(--text)" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--muted)", border: "none" },
  ".cm-activeLine": { backgroundColor: "color-mix(in srgb, var(--accent) 6%, transparent)" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  ".cm-tooltip": { backgroundColor: "var(--surface)", border: "1px solid var(--line)", borderRadius: "6px", color: "var(--text)" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--accent)", color: "var(--on-accent)" },
  "&.cm-focused .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "color-mix(in srgb, var(--accent) 25%, transparent) !important" },
});

/** `latest`: the properties as they are now, words and checks may come after the editor. */
function extensions(props: Props, latest: () => Props): Extension[] {
  const language = props.language === "sql" ? sql({ dialect: EMQX, upperCaseKeywords: true }) : yaml();
  return [
    lineNumbers(),
    history(),
    drawSelection(),
    indentOnInput(),
    bracketMatching(),
    highlightActiveLine(),
    language,
    EditorState.languageData.of(() => [{ autocomplete: (context: CompletionContext) => completeFromList(latest().words ?? [])(context) }]),
    autocompletion({ icons: false }),
    syntaxHighlighting(COLOURS),
    LOOK,
    EditorView.lineWrapping,
    EditorView.contentAttributes.of({ "aria-label": props.label, ...(props.change ? {} : { "aria-readonly": "true" }) }),
    EditorState.readOnly.of(!props.change),
    EditorState.tabSize.of(2),
    // Tab is left to the browser: who came with the keyboard must get out with it.
    keymap.of([...completionKeymap, ...defaultKeymap, ...historyKeymap]),
    EditorView.updateListener.of((update) => {
      if (update.docChanged) latest().change?.(update.state.doc.toString());
    }),
    props.check ? [lintGutter(), linter(async (view) => marks(view, (await latest().check?.(view.state.doc.toString())) ?? []), { delay: 400 })] : [],
  ];
}

function marks(view: EditorView, problems: Problem[]): Diagnostic[] {
  return problems.map((problem) => {
    const line = view.state.doc.line(Math.min(Math.max(problem.line ?? 1, 1), view.state.doc.lines));
    const from = problem.line === undefined ? line.from : Math.min(line.from + Math.max((problem.column ?? 1) - 1, 0), line.to);
    return { from, to: line.to, severity: problem.severity ?? "error", message: problem.message };
  });
}

export function Editor(props: Props): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const latest = useRef(props);
  latest.current = props;
  useEffect(() => {
    // In a shadow root the editor's own styles need no inline style sheet, which the page's policy forbids.
    const host = place.current as HTMLElement;
    const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
    const made = new EditorView({
      parent: root,
      root,
      state: EditorState.create({
        doc: props.value,
        extensions: extensions(props, () => latest.current),
      }),
    });
    view.current = made;
    return () => made.destroy();
  }, [props.language, props.change === undefined]);
  useEffect(() => {
    const now = view.current;
    if (now && now.state.doc.toString() !== props.value)
      now.dispatch({ changes: { from: 0, to: now.state.doc.length, insert: props.value } });
  }, [props.value]);
  return <div class="editor" ref={place} />;
}
