"""Planning again on request: steps that ended stay, the rest is planned anew."""

from __future__ import annotations

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.advance import budget_left
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.model import Run, RunState, StepState
from interlock.orchestrator.domain.refuse import budget_reached, require_run


def replan(run: Run, ctx: Context, *, comment: str = "", max_steps: int = 0) -> list[e.Event]:
    """Starts planning again. A PLANNED run stays so; one that had begun is PAUSED when there are new steps.

    A FAILED one takes its workspace again, and what had failed in it is settled by the new steps.
    """
    require_run(run, (RunState.PLANNED, RunState.PAUSED, RunState.FAILED), "plan it again")
    if run.waiting is not None:
        raise _wrong(run, "waits for its workspace", "Let it start, or cancel it.")
    if run.current is not None:
        raise _wrong(
            run,
            f"has step {run.current.number} under way",
            "Let the step end, or reject it with `--action replan`.",
        )
    last = run.step(run.cursor)
    if last is not None and last.state is StepState.OUTCOME_UNKNOWN:
        raise _wrong(
            run,
            f"has step {last.number} with an unknown outcome",
            "Check what it did, then `interlock step retry RUN STEP` or `interlock step skip RUN STEP`.",
        )
    if not budget_left(run):
        raise budget_reached(run, "planning again")
    feedback = comment or _reason(run)
    if run.state is RunState.PLANNED:
        return [e.PlanningStarted("", max_steps, feedback, ctx.subject, then="planned")]
    asked = e.PlanningStarted("", max_steps, feedback, ctx.subject, then="paused")
    return [e.RunResumed(ctx.subject), asked]


def _reason(run: Run) -> str:
    """Why, when nobody says: what failed, by its name only, because messages may hold what a step has printed."""
    last = run.step(run.cursor)
    if last is None or last.failure is None:
        return "A person asks for another plan."
    return f"{last.key} ended with {last.failure.reason}; its result says more."


def _wrong(run: Run, what: str, fix: str) -> InterlockError:
    metadata = {"run_id": run.run_id, "current": run.state.value, "allowed": ""}
    message = f"The run {run.run_id} {what}; it cannot be planned again now."
    return InterlockError(Reason.RUN_WRONG_STATE, message, fix=fix, metadata=metadata)
