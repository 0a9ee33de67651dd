"""Typed refusals of commands that a state does not allow."""

from __future__ import annotations

from collections.abc import Iterable

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain.model import Run, RunState, Step, StepState


def require_run(run: Run, allowed: Iterable[RunState], verb: str) -> None:
    """Raises RUN_WRONG_STATE unless the run is in one of the states."""
    states = sorted(state.value for state in allowed)
    if run.state.value in states and not (run.cancelling or run.rollback):
        return
    busy = "being cancelled" if run.cancelling else "being rolled back" if run.rollback else run.state.value
    raise InterlockError(
        Reason.RUN_WRONG_STATE,
        f"The run {run.run_id} is {busy}; to {verb} it must be {' or '.join(states)}.",
        fix="Look at the run with `interlock run get` and wait, or choose another action.",
        metadata={"run_id": run.run_id, "current": run.state.value, "allowed": ",".join(states)},
    )


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
    states = sorted(state.value for state in allowed)
    if step.state.value in states:
        return step
    raise InterlockError(
        Reason.STEP_WRONG_STATE,
        f"Step {number} of {run.run_id} is {step.state.value}; to {verb} it must be {' or '.join(states)}.",
        field="step",
        metadata={
            "run_id": run.run_id,
            "step": str(number),
            "current": step.state.value,
            "allowed": ",".join(states),
        },
    )
