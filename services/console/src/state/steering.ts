// What an operator does with runs and steps.
import { signal } from "@preact/signals";
import { at, post } from "../api/client.ts";
import { problemOf } from "../api/problem.ts";
import type { Run, Undoing } from "../api/types.ts";
import { notify } from "./announce.ts";
import { reload } from "./run.ts";

export const busy = signal(false);

/** Do it, say what came of it, and show the run as it is then. The answer, or null when it was refused. */
export async function act<T>(path: string, body: object, words: string): Promise<T | null> {
  if (busy.value) return null;
  busy.value = true;
  try {
    const answer = await post<T>(path, body);
    notify(words);
    return answer;
  } catch (error) {
    const problem = problemOf(error);
    notify(`${problem.message} ${problem.fix}`.trim(), true);
    return null;
  } finally {
    busy.value = false;
    void reload(true);
  }
}

export const ofRun = (run: string, verb: string): string => at`/v1/runs/${run}` + `:${verb}`;
export const ofStep = (run: string, step: number, verb: string): string => at`/v1/runs/${run}/steps/${step}` + `:${verb}`;

/** What can be undone: back to a step's tree, or one step taken out. */
export type Undo = { run: string; step: number; kind: "rollback" | "revert" };

export const undoPath = (undo: Undo): string =>
  undo.kind === "rollback" ? ofRun(undo.run, "rollback") : ofStep(undo.run, undo.step, "revert");

export const undoBody = (undo: Undo, discard: boolean): object =>
  undo.kind === "rollback" ? { toStep: undo.step, discardLaterChanges: discard } : {};

/** What it would do; nothing is changed. Raises a Problem. */
export const preview = (undo: Undo, discard: boolean): Promise<Undoing> =>
  post<Undoing>(undoPath(undo), { ...undoBody(undo, discard), validateOnly: true });

export interface Fork {
  run: string;
  atStep: number;
  withoutPlan: boolean;
  start: boolean;
  workspacePath: string;
}

export const fork = (wanted: Fork): Promise<{ run: Run } | null> => {
  const { run, ...body } = wanted;
  return act<{ run: Run }>(ofRun(run, "fork"), body, "Forked.");
};
