// The list of runs.
import { useEffect } from "preact/hooks";
import type { Run } from "../api/types.ts";
import { loadMore, more, problem, refresh, runs, search, shown, state, watch } from "../state/runs.ts";
import { toRun } from "../state/route.ts";
import { money, runState } from "../text/words.ts";
import { Ago, Labels, State, Trouble } from "./bits.tsx";
import { Text } from "./text.tsx";

const STATES = ["AWAITING_APPROVAL", "RUNNING", "PAUSED", "PLANNED", "COMPLETED", "FAILED", "CANCELLED"];

export function Runs() {
  useEffect(watch, []);
  return (
    <div class="page">
      <h2>Runs</h2>
      <div class="filter" role="search">
        <input
          type="search"
          aria-label="Search runs"
          placeholder="Search"
          value={search.value}
          onInput={(event) => (search.value = event.currentTarget.value)}
        />
        <select aria-label="State" value={state.value} onChange={(event) => (state.value = event.currentTarget.value)}>
          <option value="">All states</option>
          {STATES.map((name) => (
            <option key={name} value={`RUN_STATE_${name}`}>
              {runState(name)}
            </option>
          ))}
        </select>
      </div>
      <Trouble problem={problem.value} again={() => void refresh()} />
      <ul class="runs">
        {shown.value.map((run) => (
          <Line key={run.runId} run={run} />
        ))}
      </ul>
      {runs.value && !shown.value.length && <p class="empty">{runs.value.length ? "No run matches." : "There is no run yet."}</p>}
      {more.value && (
        <button type="button" class="more" onClick={() => void loadMore()}>
          Show older runs
        </button>
      )}
    </div>
  );
}

function Line({ run }: { run: Run }) {
  const [done, total] = [run.stepsDone ?? 0, run.stepsTotal ?? 0];
  return (
    <li>
      <a class="run-line" href={toRun(run.runId)} data-item>
        <State state={runState(run.state)} />
        <span class="run-goal">
          <span class="clip">
            <Text text={run.goal || "(no goal)"} />
          </span>
          <span class="fine clip">
            <code>{run.runId}</code> {run.createdBy && <Text text={`by ${run.createdBy}`} />} <Labels labels={run.labels} />
          </span>
        </span>
        <span class="run-steps">
          <progress max={Math.max(1, total)} value={done} aria-label="Steps done" />
          <span class="fine">
            {done} of {total} steps
          </span>
        </span>
        <span class="run-when fine">
          {money(run.cost)} <Ago time={run.updatedAt} />
        </span>
      </a>
    </li>
  );
}
