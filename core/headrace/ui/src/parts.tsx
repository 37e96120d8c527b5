// The small parts that every page is made of.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "./api";
import type { Part, State } from "./types";

const TOLD: Record<State, string> = {
  connecting: "connecting",
  running: "running",
  degraded: "degraded",
  stopped: "stopped",
  disabled: "disabled",
};

const RECENT = 60; // seconds

/** Does it run, and did something go wrong a moment ago? */
export const ails = (part: Part | undefined): boolean => part?.state === "running" && (part.errors[0]?.last ?? 0) > Date.now() / 1000 - RECENT;

/** The state of a part, with why it is so. */
export function Chip({ part }: { part: Part | undefined }): JSX.Element {
  const ill = ails(part);
  const why = part?.reason || (ill && part?.errors[0]?.reason) || undefined;
  return (
    <span class={`chip ${ill ? "ill" : (part?.state ?? "unknown")}`} title={why}>
      <span class="dot" aria-hidden="true" />
      <span class="word">{part ? TOLD[part.state] : "not loaded"}{ill && ", with errors"}</span>
    </span>
  );
}

/** A number that is worth a look if it is not 0. */
export const bad = (value: number | undefined): string => (value ? "num bad" : "num");

const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const WHOLE = new Intl.NumberFormat("en");

export const number = (value: number | undefined): string => (value === undefined ? "–" : WHOLE.format(value));
export const perSecond = (value: number): string =>
  value === 0 ? "0/s" : `${value < 10 ? value.toFixed(1) : SHORT.format(value)}/s`;

export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = "B";
  for (const next of units) {
    if (value < 1000) break;
    value /= 1000;
    unit = next;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/** Seconds in the largest unit that says enough. */
export function span(seconds: number): string {
  if (seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60]] as const) {
    if (seconds >= 2 * length) return `${Math.floor(seconds / length)} ${unit}`;
  }
  return `${Math.round(seconds)} s`;
}

export function Ago({ at }: { at: number | null | undefined }): JSX.Element {
  if (!at) return <>–</>;
  const date = new Date(at * 1000);
  return (
    <time dateTime={date.toISOString()} title={date.toLocaleString()}>
      {span(Math.max(0, Date.now() / 1000 - at))} ago
    </time>
  );
}

export function Page(props: { title: string; lead?: ComponentChildren; actions?: ComponentChildren; children: ComponentChildren }) {
  useEffect(() => {
    document.title = `${props.title} · headrace`;
  }, [props.title]);
  return (
    <>
      <header class="page">
        <div>
          <h1>{props.title}</h1>
          {props.lead && <p class="lead">{props.lead}</p>}
        </div>
        {props.actions && <div class="actions">{props.actions}</div>}
      </header>
      {props.children}
    </>
  );
}

export function Card(props: { title?: string; actions?: ComponentChildren; children: ComponentChildren; class?: string }) {
  return (
    <section class={`card ${props.class ?? ""}`}>
      {(props.title || props.actions) && (
        <div class="cardhead">
          {props.title && <h2>{props.title}</h2>}
          {props.actions}
        </div>
      )}
      {props.children}
    </section>
  );
}

/** What stands where there is nothing yet, and what to do about it. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <strong>{title}</strong>
      {children && <p>{children}</p>}
    </div>
  );
}

export function Notice({ kind = "error", children }: { kind?: "error" | "good" | "warn"; children: ComponentChildren }) {
  return (
    <div class={`notice ${kind}`} role={kind === "error" ? "alert" : "status"}>
      {children}
    </div>
  );
}

export const told = (error: unknown): string => (error instanceof ApiError || error instanceof Error ? error.message : String(error));

/** A button that is busy while its promise runs; what goes wrong goes to `failed`. */
export function Act(props: {
  run: () => Promise<unknown> | void;
  failed?: (message: string) => void;
  class?: string;
  title?: string;
  label?: string;
  disabled?: boolean;
  type?: "button" | "submit";
  children: ComponentChildren;
}) {
  const [busy, setBusy] = useState(false);
  const click = async () => {
    setBusy(true);
    props.failed?.("");
    try {
      await props.run();
    } catch (error) {
      props.failed?.(told(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <button
      type="button"
      class={props.class}
      title={props.title}
      aria-label={props.label}
      aria-busy={busy}
      disabled={busy || props.disabled}
      onClick={() => void click()}
    >
      {props.children}
    </button>
  );
}

export function Switch(props: { on: boolean; label: string; change: (on: boolean) => void; disabled?: boolean }) {
  return (
    <button
      type="button"
      role="switch"
      class="switch"
      aria-checked={props.on}
      aria-label={props.label}
      disabled={props.disabled}
      onClick={() => props.change(!props.on)}
    >
      <span aria-hidden="true" />
    </button>
  );
}

export function Dialog(props: { title: string; close: () => void; wide?: boolean; children: ComponentChildren }) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    box.current?.showModal();
    box.current?.querySelector<HTMLElement>('input[type="text"], textarea')?.focus();
  }, []);
  return (
    <dialog
      ref={box}
      class={props.wide ? "wide" : ""}
      aria-label={props.title}
      onCancel={(event) => {
        event.preventDefault();
        props.close();
      }}
    >
      <div class="cardhead">
        <h2>{props.title}</h2>
        <button type="button" class="quiet" aria-label="Close" onClick={props.close}>
          ✕
        </button>
      </div>
      {props.children}
    </dialog>
  );
}

/** Ask before something that cannot be undone. */
export function Confirm(props: { title: string; act: string; run: () => Promise<unknown>; close: () => void; children: ComponentChildren }) {
  const [error, setError] = useState("");
  return (
    <Dialog title={props.title} close={props.close}>
      <div>{props.children}</div>
      {error && <Notice>{error}</Notice>}
      <div class="buttons">
        <button type="button" onClick={props.close}>
          Cancel
        </button>
        <Act class="danger" failed={setError} run={async () => { await props.run(); props.close(); }}>
          {props.act}
        </Act>
      </div>
    </Dialog>
  );
}

export function Tabs<T extends string>(props: { tabs: Record<T, string>; now: T; choose: (tab: T) => void; label: string }) {
  const names = Object.keys(props.tabs) as T[];
  const move = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    const next = names[(names.indexOf(props.now) + step + names.length) % names.length];
    if (next) props.choose(next);
    const row = event.currentTarget as HTMLElement;
    requestAnimationFrame(() => row.querySelector<HTMLElement>("[aria-selected=true]")?.focus());
  };
  return (
    <div class="tabs" role="tablist" aria-label={props.label} onKeyDown={move}>
      {names.map((name) => (
        <button
          type="button"
          role="tab"
          key={name}
          aria-selected={name === props.now}
          tabIndex={name === props.now ? 0 : -1}
          onClick={() => props.choose(name)}
        >
          {props.tabs[name]}
        </button>
      ))}
    </div>
  );
}

/** Load something once, and again when `key` changes. */
export function useLoad<T>(load: () => Promise<T>, key: unknown = ""): { value: T | undefined; error: string; again: () => Promise<void> } {
  const [state, setState] = useState<{ value: T | undefined; error: string }>({ value: undefined, error: "" });
  const again = async () => {
    try {
      setState({ value: await load(), error: "" });
    } catch (error) {
      setState((before) => ({ ...before, error: told(error) }));
    }
  };
  useEffect(() => {
    void again();
  }, [key]);
  return { ...state, again };
}
