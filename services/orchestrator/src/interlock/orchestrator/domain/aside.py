"""Runs that are set aside: driving them met the same defect again and again, and a person has to say when to go on.

Nothing is lost by it and nothing guessed. What was under way may have taken effect: every action is safe to repeat,
so resuming finds that out. A step can be passed over only where it cannot have acted.
"""

from __future__ import annotations

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.actions import Prepare, step_action
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.model import Failure, Run, Step, StepState


def set_aside(run: Run, ctx: Context, action: str, failure: Failure, tries: int) -> list[e.Event]:
    """Takes the run out of the drivers' hands; nothing, if it is."""
    return [] if run.set_aside is not None else [e.RunSetAside(action, failure, tries)]


def taken_up(run: Run, ctx: Context) -> list[e.Event]:
    """Gives the run back to the drivers; nothing, unless it was set aside."""
    return [] if run.set_aside is None else [e.RunTakenUp(ctx.subject)]


def stuck(run: Run, number: int) -> Step | None:
    """The step with this number, where the run was set aside with it under way."""
    step = run.current
    busy = (StepState.PREPARING, StepState.APPLYING)
    if run.set_aside is None or step is None or step.number != number or step.state not in busy:
        return None
    return step


def passes_over(step: Step) -> bool:
    """Whether a stuck step cannot have acted anywhere but in its fork."""
    outside = isinstance(step_action(step), Prepare) and bool(step.spec.input.get("network"))
    return step.state is StepState.PREPARING and not outside


def check_passes_over(run: Run, step: Step) -> None:
    """Raises STEP_WRONG_STATE where a stuck step may have acted: in the workspace, or over the network."""
    if passes_over(step):
        return
    raise InterlockError(
        Reason.STEP_WRONG_STATE,
        f"Step {step.number} of {run.run_id} was set aside while it took effect; whether it has is not known.",
        field="step",
        fix=f"`interlock run resume {run.run_id}` finds out: what has happened is not done again.",
        metadata={
            "run_id": run.run_id,
            "step": str(step.number),
            "current": step.state.value,
            "allowed": StepState.PREPARING.value,
        },
    )
