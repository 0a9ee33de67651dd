// Another try from a step on: a new run on a new workspace.
import { useState } from "preact/hooks";
import type { Run } from "../api/types.ts";
import { go, toRun } from "../state/route.ts";
import { busy, fork } from "../state/steering.ts";
import { Buttons, Dialog } from "./dialog.tsx";

export function ForkDialog({ run, step, close }: { run: Run; step: number; close(): void }) {
  const later = (run.stepsTotal ?? 0) > step;
  const [withoutPlan, setWithoutPlan] = useState(!later);
  const [start, setStart] = useState(false);
  const [workspacePath, setPath] = useState("");
  const submit = async (): Promise<void> => {
    const wanted = { run: run.runId, atStep: step, withoutPlan, start: start && !withoutPlan, workspacePath };
    const made = await fork(wanted);
    if (!made) return;
    close();
    go(toRun(made.run.runId));
  };
  return (
    <Dialog title={`Fork after step ${step}`} close={close} submit={() => void submit()}>
      <p>A new run on a workspace of its own, with the files as this step left them. This run stays as it is.</p>
      <label class="radio">
        <input type="checkbox" checked={!withoutPlan} disabled={!later} onChange={(event) => setWithoutPlan(!event.currentTarget.checked)} />
        <span>With the later steps of the plan, to be decided anew</span>
      </label>
      <label class="radio">
        <input type="checkbox" checked={start && !withoutPlan} disabled={withoutPlan} onChange={(event) => setStart(event.currentTarget.checked)} />
        <span>Start it at once</span>
      </label>
      <label class="field">
        Directory of the new workspace (empty: one of Interlock's own)
        <input class="mono" value={workspacePath} spellcheck={false} data-first onInput={(event) => setPath(event.currentTarget.value)} />
      </label>
      <Buttons close={close}>
        <button type="submit" class="primary" disabled={busy.value}>
          Fork
        </button>
      </Buttons>
    </Dialog>
  );
}
