"""Typed refusals of commands that a state does not allow."""

from __future__ import annotations

from collections.abc import Iterable

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain.model import MAX_ATTEMPTS, Run, RunState, Step, StepState


def require_run(run: Run, allowed: Iterable[RunState], verb: str, *, during_rollback: bool = False) -> None:
    """Raises RUN_WRONG_STATE unless the run is in one of the states, and not busy cancelling or undoing."""
    if run.workspace_removed:
        raise _workspace_gone(run, verb)
    states = sorted({state.value for state in allowed})
    busy = "being cancelled" if run.cancelling else "" if during_rollback else _undoing(run)
    if run.state.value in states and not busy:
        return
    metadata = {"run_id": run.run_id, "current": run.state.value, "allowed": ",".join(states)}
    raise InterlockError(
        Reason.RUN_WRONG_STATE,
        f"The run {run.run_id} is {busy or run.state.value}; to {verb}, the run must be {' or '.join(states)}"
        f"{' and left alone' if busy else ''}.",
        fix=_advice(run, busy),
        metadata={**metadata, "busy": busy} if busy else metadata,
    )


def _advice(run: Run, busy: str) -> str:
    if busy or run.state not in _ADVICE:
        return f"Look at the run with `interlock run get {run.run_id}` and wait, or choose another action."
    return _ADVICE[run.state].format(run=run.run_id)


_ENDED = (
    "It has ended. Undo something of it (`interlock run rollback {run}`, `interlock step revert {run} STEP`), "
    "which lets it go on; or fork it, or make a new run."
)
_ADVICE = {
    RunState.COMPLETED: _ENDED,
    RunState.CANCELLED: _ENDED,
    RunState.FAILED: "Retry or skip the step that failed: `interlock run get {run}` shows which; or make a new run.",
    RunState.AWAITING_APPROVAL: "Decide what it waits for (`interlock approvals show {run}`), or pause it first.",
    RunState.RUNNING: "Wait for it (`interlock run wait {run}`), or pause it first: `interlock run pause {run}`.",
}


def _undoing(run: Run) -> str:
    if run.rollback is not None:
        return "being rolled back"
    return f"reverting its step {run.revert.step}" if run.revert is not None else ""


def require_step(run: Run, number: int, allowed: Iterable[StepState], verb: str) -> Step:
    """The step, if it exists and is in one of the states. Raises STEP_NOT_FOUND, STEP_WRONG_STATE."""
    step = run.step(number)
    if step is None:
        raise InterlockError(
            Reason.STEP_NOT_FOUND,
            f"The run {run.run_id} has {len(run.steps)} steps; there is no step {number}.",
            field="step",
            metadata={"run_id": run.run_id, "step": str(number)},
        )
    states = sorted({state.value for state in allowed})
    if step.state.value in states:
        return step
    raise InterlockError(
        Reason.STEP_WRONG_STATE,
        f"Step {number} of {run.run_id} is {step.state.value}; to {verb}, the step must be {' or '.join(states)}.",
        field="step",
        metadata={
            "run_id": run.run_id,
            "step": str(number),
            "current": step.state.value,
            "allowed": ",".join(states),
        },
    )


def require_attempts(run: Run, step: Step) -> None:
    """Raises STEP_WRONG_STATE when the step has had all the attempts that a step may have."""
    if step.attempt < MAX_ATTEMPTS:
        return
    raise InterlockError(
        Reason.STEP_WRONG_STATE,
        f"Step {step.number} of {run.run_id} has had {MAX_ATTEMPTS} attempts, the most a step may have.",
        field="step",
        fix=f"Skip it with `interlock step skip {run.run_id} {step.number}`, and add a new step if it is still wanted.",
        metadata={
            "run_id": run.run_id,
            "step": str(step.number),
            "current": step.state.value,
            "allowed": "",
            "attempt": str(step.attempt),
            "limit": str(MAX_ATTEMPTS),
        },
    )


def budget_reached(run: Run, what: str) -> InterlockError:
    """RUN_BUDGET_REACHED for something that would need one more model call."""
    spent, limit = run.spent, run.budget
    return InterlockError(
        Reason.RUN_BUDGET_REACHED,
        f"The budget of {run.run_id} is used up; {what} would need another model call.",
        fix=f"Raise it, `interlock budget set --run {run.run_id} …`, or skip the steps that need a model: "
        "`interlock step skip RUN STEP`.",
        metadata={
            "run_id": run.run_id,
            "model_calls": str(spent.calls),
            "max_model_calls": str(limit.max_model_calls),
            "cost_micros": "unknown" if spent.cost_micros is None else str(spent.cost_micros),
            "max_cost_micros": str(limit.max_cost_micros),
        },
    )


def _workspace_gone(run: Run, verb: str) -> InterlockError:
    return InterlockError(
        Reason.WORKSPACE_NOT_FOUND,
        f"The workspace of {run.run_id}, {run.workspace_id}, was removed; to {verb}, it would have to be there.",
        field="run_id",
        fix="Make another run on a workspace that there is: `interlock run start --workspace DIR --plan FILE`.",
        metadata={"run_id": run.run_id, "workspace_id": run.workspace_id},
    )
