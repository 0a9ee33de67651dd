// Small things that several pages show.
import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import type { Problem } from "../api/problem.ts";
import { ago, short } from "../text/words.ts";
import { Code, Text } from "./text.tsx";

const now = signal(Date.now());
setInterval(() => {
  now.value = Date.now();
}, 5_000);

export function Ago({ time }: { time: string | undefined }) {
  if (!time) return null;
  return (
    <time dateTime={time} title={new Date(time).toLocaleString()}>
      {ago(time, Math.max(now.value, Date.now() - 5_000))}
    </time>
  );
}

const TONES: Record<string, string> = {
  "awaiting approval": "wait",
  pending: "idle",
  planned: "idle",
  created: "idle",
  preparing: "busy",
  approved: "good",
  applying: "busy",
  planning: "busy",
  running: "busy",
  succeeded: "good",
  completed: "good",
  failed: "bad",
  rejected: "bad",
  "outcome unknown": "bad",
  expired: "bad",
  skipped: "off",
  cancelled: "off",
  superseded: "off",
  edited: "off",
  paused: "wait",
};

export function State({ state }: { state: string }) {
  return <span class={`state ${TONES[state] ?? "idle"}`}>{state}</span>;
}

export function Kind({ kind }: { kind: string }) {
  return <span class={`kind ${kind}`}>{kind.replace("_", " ")}</span>;
}

/** An id or digest by its end or beginning, the whole of it on demand. */
export function Id({ id }: { id: string | undefined }) {
  if (!id) return null;
  return (
    <code class="id" title={id}>
      {short(id)}
    </code>
  );
}

export function Labels({ labels }: { labels: Record<string, string> | undefined }) {
  const all = Object.entries(labels ?? {});
  if (!all.length) return null;
  return (
    <span class="labels">
      {all.map(([name, value]) => (
        <Code key={name} class="label" text={`${name}=${value}`} />
      ))}
    </span>
  );
}

export function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

export function Trouble({ problem, again }: { problem: Problem | null; again?(): void }) {
  if (!problem) return null;
  return (
    <div class="problem" role="alert">
      <p>
        <Text text={problem.message} /> <Text text={problem.fix} />
      </p>
      {again && (
        <button type="button" onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Section({ title, aside, children }: { title: string; aside?: ComponentChildren; children: ComponentChildren }) {
  return (
    <section class="section">
      {title && (
        <div class="section-head">
          <h3>{title}</h3>
          {aside}
        </div>
      )}
      {children}
    </section>
  );
}
