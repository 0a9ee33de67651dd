// One run as it happens: its steps, and the output of the one under way.
import { batch, signal } from "@preact/signals";
import { at, get } from "../api/client.ts";
import { follow } from "../api/follow.ts";
import { type Problem, problemOf } from "../api/problem.ts";
import type { OutputChunk, Run, RunUpdate, Step } from "../api/types.ts";
import { calmly } from "./calmly.ts";
import { Live } from "./live.ts";

const AGAIN_MILLIS = 10_000;
const FLOW_MILLIS = 150;

export const run = signal<Run | null>(null);
export const steps = signal<ReadonlyMap<number, Step>>(new Map());
export const live = signal<Live | null>(null);
export const problem = signal<Problem | null>(null);
export const lost = signal(false);
/** Steps whose details have to be asked for again, by how often. */
export const changes = signal<ReadonlyMap<number, number>>(new Map());

let id = "";
let running: { stop(): void } | null = null;

export function watch(runId: string): () => void {
  id = runId;
  batch(() => {
    run.value = null;
    steps.value = new Map();
    live.value = null;
    problem.value = null;
    lost.value = false;
    changes.value = new Map();
  });
  void reload();
  stream();
  const timer = setInterval(() => {
    if (!document.hidden) void reload();
  }, AGAIN_MILLIS);
  return () => {
    clearInterval(timer);
    running?.stop();
    running = null;
    id = "";
  };
}

/** Ask for the whole run; after an action of our own also watch it again, since a run that had ended may go on. */
export async function reload(again = false): Promise<void> {
  const asked = id;
  if (again) stream();
  try {
    const answer = await get<{ run: Run }>(at`/v1/runs/${asked}`);
    if (asked !== id) return;
    const { steps: all, ...rest } = answer.run;
    batch(() => {
      for (const step of all ?? []) mark(step);
      run.value = rest;
      steps.value = new Map((all ?? []).map((step) => [step.number, step]));
      problem.value = null;
    });
  } catch (error) {
    if (asked === id) problem.value = problemOf(error);
  }
}

const reloadCalmly = calmly(reload, 300);

function stream(): void {
  running?.stop();
  running = follow<RunUpdate>(at`/v1/runs/${id}:watch` + "?only_new=true", {
    message: take,
    live: () => {
      lost.value = false;
      // What happened before the stream began is in the run as it is now.
      void reload();
    },
    lost: () => {
      lost.value = true;
    },
    reset: () => void reload(),
    end: () => void reload(),
    refused: (refused) => {
      problem.value ??= refused;
    },
  });
}

function take(update: RunUpdate): void {
  batch(() => {
    if (update.run) {
      const { steps: _, ...rest } = update.run;
      run.value = rest;
    }
    if (update.step) {
      mark(update.step);
      steps.value = new Map(steps.value).set(update.step.number, update.step);
    }
    if (update.output) flow(update.output);
  });
  if (!update.step && update.event) reloadCalmly();
}

const waiting: OutputChunk[] = [];

/** Output is shown a few times a second, however many pieces it comes in. */
function flow(chunk: OutputChunk): void {
  if (waiting.push(chunk) > 1) return;
  setTimeout(() => {
    const mine = waiting.splice(0);
    if (id === mine[0]?.runId) live.value = mine.reduce((before: Live | null, each) => Live.after(before, each), live.value);
  }, FLOW_MILLIS);
}

/** A step that is in another state has other details. */
function mark(step: Step): void {
  const before = steps.value.get(step.number);
  const same =
    before?.state === step.state &&
    before.attempt === step.attempt &&
    before.approvalId === step.approvalId &&
    !before.undone === !step.undone;
  if (!same) changes.value = new Map(changes.value).set(step.number, (changes.value.get(step.number) ?? 0) + 1);
}
