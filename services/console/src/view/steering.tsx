// The buttons with which runs and steps are steered.
import { useState } from "preact/hooks";
import type { Run, Step } from "../api/types.ts";
import { act, busy, ofRun, ofStep, type Undo } from "../state/steering.ts";
import { mayOperate } from "../state/session.ts";
import { ForkDialog } from "./fork.tsx";
import { UndoDialog } from "./undo.tsx";

const bare = (state: string): string => state.replace(/^(RUN|STEP)_STATE_/, "");

const VERBS: Record<string, { words: string; done: string; states: string[] }> = {
  start: { words: "Start", done: "Started.", states: ["PLANNED"] },
  pause: { words: "Pause", done: "It pauses after the step that is under way.", states: ["RUNNING", "AWAITING_APPROVAL"] },
  resume: { words: "Resume", done: "It goes on.", states: ["PAUSED"] },
  cancel: { words: "Cancel run", done: "Cancelled.", states: ["CREATED", "PLANNED", "RUNNING", "AWAITING_APPROVAL", "PAUSED"] },
};

export function RunActions({ run }: { run: Run }) {
  const [undo, setUndo] = useState<Undo | null>(null);
  if (!mayOperate.value) return null;
  const verbs = Object.entries(VERBS).filter(([, verb]) => verb.states.includes(bare(run.state)));
  return (
    <>
      <div class="buttons start" role="group" aria-label="The run">
      {verbs.map(([name, verb]) => (
        <button
          key={name}
          type="button"
          class={name === "cancel" ? "danger" : ""}
          disabled={busy.value}
          onClick={() => void act(ofRun(run.runId, name), {}, verb.done)}
        >
          {verb.words}
        </button>
      ))}
      {run.headTree && run.headTree !== run.baseTree && (
        <button type="button" disabled={busy.value} onClick={() => setUndo({ run: run.runId, step: 0, kind: "rollback" })}>
          Undo the whole run
        </button>
      )}
      </div>
      {undo && <UndoDialog undo={undo} close={() => setUndo(null)} />}
    </>
  );
}

const RETRIED = new Set(["FAILED", "REJECTED", "OUTCOME_UNKNOWN"]);
const SKIPPED = new Set(["PENDING", "FAILED", "REJECTED", "OUTCOME_UNKNOWN"]);
const ENDED = new Set(["SUCCEEDED", "FAILED", "REJECTED", "SKIPPED", "CANCELLED"]);

export function StepActions({ step, run }: { step: Step; run: Run }) {
  const [undo, setUndo] = useState<Undo | null>(null);
  const [forking, setForking] = useState(false);
  if (!mayOperate.value) return null;
  const state = bare(step.state);
  const changed = Number(step.effect?.changesTotal ?? 0) > 0 && state === "SUCCEEDED" && !step.undone;
  const button = (words: string, action: () => void) => (
    <button type="button" disabled={busy.value} onClick={action}>
      {words}
    </button>
  );
  const verb = (name: string, done: string) => () => void act(ofStep(run.runId, step.number, name), {}, done);
  return (
    <>
      <div class="buttons start" role="group" aria-label={`Step ${step.number}`}>
      {(RETRIED.has(state) || step.undone) && button("Try again", verb("retry", "It is tried again."))}
      {SKIPPED.has(state) && button("Skip", verb("skip", "Skipped."))}
      {changed && button("Undo this step", () => setUndo({ run: run.runId, step: step.number, kind: "revert" }))}
      {step.headTree && button("Go back to here", () => setUndo({ run: run.runId, step: step.number, kind: "rollback" }))}
      {ENDED.has(state) && button("Fork from here", () => setForking(true))}
      </div>
      {undo && <UndoDialog undo={undo} close={() => setUndo(null)} />}
      {forking && <ForkDialog run={run} step={step.number} close={() => setForking(false)} />}
    </>
  );
}
