// One run: its state, and its steps as a timeline.
import { useEffect, useState } from "preact/hooks";
import type { Run } from "../api/types.ts";
import { lost, problem, reload, run as shownRun, steps, watch } from "../state/run.ts";
import { toRun, toRuns } from "../state/route.ts";
import { money, runState, tokens } from "../text/words.ts";
import { Ago, Fact, Id, Labels, State, Trouble } from "./bits.tsx";
import { Boundary } from "./boundary.tsx";
import { Envelopes } from "./envelope.tsx";
import { RunActions } from "./steering.tsx";
import { StepLine } from "./step.tsx";
import { Text } from "./text.tsx";

const MORE_STEPS = 300;

export function RunPage({ id, step }: { id: string; step: number }) {
  useEffect(() => watch(id), [id]);
  const [most, setMost] = useState(Math.max(MORE_STEPS, step + 10));
  const run = shownRun.value;
  const all = [...steps.value.values()].sort((a, b) => a.number - b.number);
  return (
    <div class="page">
      <a class="back" href={toRuns}>
        ← Runs
      </a>
      <Trouble problem={problem.value} again={() => void reload(true)} />
      {!run && !problem.value && <p class="empty">Loading the run…</p>}
      {run && (
        <>
          <Head run={run} />
          {lost.value && <p class="fine">Reconnecting…</p>}
          <ol class="timeline" aria-label="Steps">
            {all.slice(0, most).map((each) => (
                <Boundary key={each.number}>
                  <StepLine step={each} run={run} first={each.number === step} />
                </Boundary>
            ))}
          </ol>
          {all.length > most && (
            <button type="button" class="more" onClick={() => setMost(most + MORE_STEPS)}>
              Show more of the other {all.length - most} steps
            </button>
          )}
        </>
      )}
    </div>
  );
}

function Head({ run }: { run: Run }) {
  return (
    <header class="run-head">
      <p class="over">
        <State state={runState(run.state)} />
        {run.pauseReason && <span class="fine">{run.pauseReason.replaceAll("_", " ")}</span>}
      </p>
      <h2>
        <Text text={run.goal || run.runId} />
      </h2>
      {run.failure && (
        <div class="banner bad">
          <p>
            <strong>{run.failure.reason}</strong> <Text text={run.failure.message} />
          </p>
          {run.failure.fix && (
            <p>
              <Text text={run.failure.fix} />
            </p>
          )}
        </div>
      )}
      <dl class="facts">
        <Fact name="Run">
          <code>{run.runId}</code>
        </Fact>
        <Fact name="Steps">
          {run.stepsDone ?? 0} of {run.stepsTotal ?? 0}
          {run.stepsUndone ? `, ${run.stepsUndone} undone` : ""}
        </Fact>
        <Fact name="Started by">
          <Text text={run.createdBy} /> <Ago time={run.createdAt} />
        </Fact>
        {run.cost?.modelCalls && (
          <Fact name="Cost">
            {money(run.cost)} {tokens(run.cost)}
          </Fact>
        )}
        {run.policy?.name && (
          <Fact name="Policy">
            <Text text={run.policy.name} />
          </Fact>
        )}
        <Fact name="Workspace">
          <code>{run.workspaceId}</code>
        </Fact>
        {run.headTree && (
          <Fact name="Snapshots">
            <Id id={run.baseTree} /> → <Id id={run.headTree} />
          </Fact>
        )}
        {run.origin && (
          <Fact name="Forked from">
            <a href={toRun(run.origin.runId, run.origin.atStep)}>
              <code>{run.origin.runId}</code> after step {run.origin.atStep ?? 0}
            </a>
          </Fact>
        )}
        {run.waiting && <Fact name="Waits for its workspace">{run.waiting.ahead ?? 0} before it</Fact>}
        {run.labels && (
          <Fact name="Labels">
            <Labels labels={run.labels} />
          </Fact>
        )}
      </dl>
      <Envelopes run={run} />
      <RunActions run={run} />
    </header>
  );
}
