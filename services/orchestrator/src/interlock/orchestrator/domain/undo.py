"""Undoing: rollback to an earlier tree, revert of one step, and going on from there.

A rollback is a step back in time: the workspace is at an earlier tree again, and the effects in it are those that
were in it then, also where that means going forward to what another rollback or revert had removed (but not to an
attempt of a step that was retried since). A revert takes one step's effect out of whatever there is now. Both are
recorded before they happen; what is to be done follows from the state, so whoever finds it unfinished finishes it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.advance import lacks_budget
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.effects import Effects, Published, at_event, in_place, undone
from interlock.orchestrator.domain.going_back import changes_back
from interlock.orchestrator.domain.model import (
    RUN_FINAL,
    STEP_ACTIVE,
    STEP_FINAL,
    Failure,
    Kept,
    PauseReason,
    Revert,
    Rollback,
    Run,
    RunState,
    Step,
    StepState,
)
from interlock.orchestrator.domain.refuse import budget_reached, require_run, require_step
from interlock.orchestrator.domain.steps import Chunked
from interlock.orchestrator.domain.transitions import IllegalTransitionError

UNDOABLE = (RunState.PAUSED, *sorted(RUN_FINAL))
_NOTHING = Kept()
_ENDED = STEP_FINAL | {StepState.OUTCOME_UNKNOWN}


# -- commands and results ---------------------------------------------------------------------------------------


def roll_back(
    run: Run, ctx: Context, *, to_step: int, comment: str = "", discard_later_changes: bool = False
) -> list[e.Event]:
    """Records the intent to go back to the tree after a step, or before the first one.

    What others have done since stays, unless `discard_later_changes` says that it goes, too.
    """
    _require_rest(run, "roll it back")
    if to_step:
        require_step(run, to_step, _ENDED, "roll back to it")
        if to_step < run.inherited:
            raise before_fork(run, to_step, "to_step")
    tree, moment = moment_after(run, to_step)
    if not tree:
        raise InterlockError(
            Reason.TREE_NOT_FOUND,
            f"The run {run.run_id} has not touched its workspace, so there is nothing to go back to.",
            metadata={"run_id": run.run_id},
        )
    for step in run.steps:
        _require_not_retried(run, step, to_step, moment)
    from_tree = "" if discard_later_changes else run.head_tree
    return [e.RollbackRequested(ctx.new_id("op"), tree, to_step, ctx.subject, comment, from_tree)]


def rolled_back(
    run: Run,
    ctx: Context,
    operation_id: str,
    head: str,
    previous: str,
    *,
    merged: bool = False,
    kept: Kept = _NOTHING,
) -> list[e.Event]:
    """Records that the older tree is published, or, `merged`, that with what others did since.

    What others had done to the directory is a change of its own before it: `previous` has it already.
    """
    if run.rollback is None or run.rollback.operation_id != operation_id:
        return []
    done = e.RolledBack(operation_id, head, previous, *kept, merged=merged)
    return [*drift(run, previous), done, *_held_beyond_budget(run)]


def rollback_failed(run: Run, ctx: Context, operation_id: str, failure: Failure) -> list[e.Event]:
    """Records that nothing was published."""
    if run.rollback is None or run.rollback.operation_id != operation_id:
        return []
    return [e.RollbackFailed(operation_id, failure), *_held_beyond_budget(run)]


def revert_step(run: Run, ctx: Context, number: int, comment: str = "") -> list[e.Event]:
    """Records the intent to take one step's effect out of the workspace."""
    _require_rest(run, "revert one of its steps")
    step = require_step(run, number, StepState, "revert it")
    effect = in_place(step.effects)
    if effect is None:
        raise _nothing_of(run, step)
    operation = ctx.new_id("op")
    return [
        e.StepRevertRequested(
            operation, effect.result_tree, effect.base_tree, ctx.subject, comment, step=number
        )
    ]


def reverted(
    run: Run,
    ctx: Context,
    operation_id: str,
    head: str,
    previous: str,
    *,
    merged: bool,
    kept: Kept = _NOTHING,
) -> list[e.Event]:
    """Records that the step's effect is out of the workspace."""
    if run.revert is None or run.revert.operation_id != operation_id:
        return []
    done = e.StepReverted(operation_id, head, previous, merged, *kept, step=run.revert.step)
    return [*drift(run, previous), done, *_held_beyond_budget(run)]


def revert_failed(run: Run, ctx: Context, operation_id: str, failure: Failure) -> list[e.Event]:
    """Records that nothing was changed."""
    if run.revert is None or run.revert.operation_id != operation_id:
        return []
    return [e.StepRevertFailed(operation_id, failure, step=run.revert.step), *_held_beyond_budget(run)]


def _held_beyond_budget(run: Run) -> list[e.Event]:
    """A step that was edited while the undo held it asks no model if the budget has been used up since.

    A late reply to an earlier question may have done that. As PENDING the step waits for its run's budget.
    """
    step = run.current
    if step is None or step.state is not StepState.PREPARING or not lacks_budget(run, step):
        return []
    error = budget_reached(run, f"step {step.number} as edited")
    failure = Failure(error.reason.value, error.message, error.field, error.fix, dict(error.metadata))
    return [e.StepFailed(step.attempt, failure, will_retry=True, step=step.number)]


def reopened(run: Run, ctx: Context) -> list[e.Event]:
    """Makes a run that has ended go on: it is PAUSED, and nothing starts before a person resumes it."""
    return [e.RunReopened(ctx.subject)] if run.state in (RunState.COMPLETED, RunState.CANCELLED) else []


def drift(run: Run, found: str) -> list[e.Event]:
    """What people did to the live directory becomes the head before anything is done to it; the journal says so."""
    return (
        [e.DriftAdopted(run.head_tree, found)] if run.head_tree and found not in ("", run.head_tree) else []
    )


def _require_rest(run: Run, verb: str) -> None:
    begun_elsewhere = run.inherited and run.waiting is None
    require_run(run, (RunState.CREATED, RunState.PLANNED, *UNDOABLE) if begun_elsewhere else UNDOABLE, verb)
    if run.current is not None:
        require_step(run, run.current.number, (StepState.AWAITING_APPROVAL,), verb)


def before_fork(run: Run, step: int, field: str) -> InterlockError:
    """What a fork answers about a step after which its own workspace never was."""
    assert run.fork is not None
    return InterlockError(
        Reason.STEP_WRONG_STATE,
        f"{run.run_id} is a fork that began after step {run.inherited}; "
        f"its workspace was never where {f'step {step} ended' if step else 'the first step began'}.",
        field=field,
        fix=f"Fork the run it comes from there: `interlock run fork {run.fork.run_id} --at-step {step}`.",
        metadata={"run_id": run.run_id, "step": str(step), "current": "inherited", "allowed": ""},
    )


def _require_not_retried(run: Run, step: Step, to_step: int, moment: int) -> None:
    """A tree with an attempt in it that another attempt has replaced since is not gone forward to again."""
    then = at_event(step.effects, moment)
    if then is None or then.undone_by:
        return
    if step.state is StepState.SUCCEEDED and step.attempt == then.attempt:
        return
    raise InterlockError(
        Reason.STEP_WRONG_STATE,
        f"The tree after step {to_step} of {run.run_id} has attempt {then.attempt} of step {step.number} in it, "
        "and that step was retried since.",
        field="to_step",
        fix="Roll back to a step before it, `interlock run rollback RUN --to-step N`, or go on with what was retried.",
        metadata={
            "run_id": run.run_id,
            "step": str(step.number),
            "current": step.state.value,
            "allowed": StepState.SUCCEEDED.value,
            "attempt": str(step.attempt),
        },
    )


def _nothing_of(run: Run, step: Step) -> InterlockError:
    gone = step.undone
    name, metadata = f"Step {step.number} of {run.run_id}", {"run_id": run.run_id, "step": str(step.number)}
    if gone is not None:
        return InterlockError(
            Reason.STEP_WRONG_STATE,
            f"{name} was undone already, by the {gone.undone_by} {gone.operation_id}.",
            field="step",
            fix=f"To have its effect again, retry it: `interlock step retry {run.run_id} {step.number}`.",
            metadata={
                **metadata,
                "current": step.state.value,
                "allowed": "",
                "undone_by": gone.undone_by,
                "operation_id": gone.operation_id,
            },
        )
    if step.state is StepState.SUCCEEDED:
        said = f"{name} has changed nothing in the workspace, so there is nothing to revert."
    else:
        said = f"{name} is {step.state.value}; nothing of it is in the workspace."
    return InterlockError(
        Reason.STEP_WRONG_STATE,
        said,
        field="step",
        fix=f"Revert a step that has changed something: `interlock step list {run.run_id}`.",
        metadata={**metadata, "current": step.state.value, "allowed": StepState.SUCCEEDED.value},
    )


# -- folding ----------------------------------------------------------------------------------------------------


def rollback_requested(run: Run, event: e.RollbackRequested, at: datetime) -> dict[str, Any]:
    """The moment that the tree belongs to is that of the request: steps may end while it is carried out."""
    _, moment = moment_after(run, event.to_step)
    return {"rollback": Rollback(event.operation_id, event.tree, event.to_step, moment, event.from_tree)}


def rollback_ended(run: Run, event: e.RolledBack | e.RollbackFailed, at: datetime) -> dict[str, Any]:
    """What is in the workspace is what was in it at that moment."""
    asked = run.rollback
    if asked is None or asked.operation_id != event.operation_id:
        raise IllegalTransitionError(f"the rollback {event.operation_id} is not under way")
    if isinstance(event, e.RollbackFailed):
        return {"rollback": None}
    changes: dict[str, Any] = {"rollback": None, "head_tree": event.head_tree, "undone": True}
    return {**changes, **_steps_as_at(run, asked.moment, at, asked.operation_id)}


def overtaken(run: Run, event: e.RunOvertaken, at: datetime) -> dict[str, Any]:
    """Another run went back over this one: what is in the workspace is what was in it at that moment."""
    if run.rollback is not None or run.revert is not None:
        raise IllegalTransitionError("two runs cannot undo something in one workspace at a time")
    changed = _steps_as_at(run, event.moment, at, event.operation_id, event.by_run)
    return {"head_tree": event.head_tree, "undone": True, **changed}


def goes_back_over(run: Run, moment: int) -> bool:
    """Whether going back to where the workspace was after an event of the run changes what of it is there."""
    return bool(changes_back(run.steps, moment))


def _steps_as_at(run: Run, moment: int, at: datetime, operation_id: str, by_run: str = "") -> dict[str, Any]:
    gone = {"undone_by": "rollback", "operation_id": operation_id, "by_run": by_run}
    steps = [_as_at(step, moment, {"seq": run.seq + 1, "at": at}, gone) for step in run.steps]
    same = all(new is old for new, old in zip(steps, run.steps, strict=True))
    return {} if same else {"steps": Chunked(steps)}


def _as_at(step: Step, moment: int, when: dict[str, Any], gone: dict[str, Any]) -> Step:
    now, then = in_place(step.effects), at_event(step.effects, moment)
    if then is not None and not then.undone_by:
        same = now is not None and now.attempt == then.attempt
        return step if same else _with(step, replace(then, **when))
    return step if now is None else _with(step, replace(now, **when, **gone))


def _with(step: Step, effect: Published) -> Step:
    return replace(step, effects=(*step.effects, effect))


def revert_requested(run: Run, event: e.StepRevertRequested, at: datetime) -> dict[str, Any]:
    """It is to be done."""
    return {"revert": Revert(event.operation_id, event.step, event.from_tree, event.to_tree)}


def revert_ended(run: Run, event: e.StepReverted | e.StepRevertFailed, at: datetime) -> dict[str, Any]:
    """It is done, or not to be done any more."""
    if run.revert is None or (run.revert.operation_id, run.revert.step) != (event.operation_id, event.step):
        raise IllegalTransitionError(f"the revert {event.operation_id} is not under way")
    if isinstance(event, e.StepRevertFailed):
        return {"revert": None}
    return {"revert": None, "head_tree": event.head_tree, "undone": True}


def run_reopened(run: Run, event: e.RunReopened, at: datetime) -> dict[str, Any]:
    """Only where something was undone."""
    if not run.undone:
        raise IllegalTransitionError("a run of which nothing was undone cannot be reopened")
    return {"pause_reason": PauseReason.REOPENED.value, "failure": None, "steps_allowed": None}


def after_event(old: Step, state: StepState, event: e.Event, seq: int, at: datetime) -> dict[str, Any]:
    """What an event that leads to `state` changes in when the step ended and in what of it is in the workspace."""
    changes: dict[str, Any] = {}
    if state is not old.state:
        if state in _ENDED and old.state in STEP_ACTIVE:
            changes["ended_seq"] = seq
        elif state is StepState.PENDING:
            changes["ended_seq"] = 0
    effects = _effects_after(old, event, seq, at)
    if effects is not old.effects:
        changes["effects"] = effects
    return changes


_TOUCHES = frozenset({e.StepSucceeded, e.StepReverted, e.StepRetried})
"""Events that change what of a step is in the workspace, or are refused for what is."""


def _effects_after(step: Step, event: e.Event, seq: int, at: datetime) -> Effects:
    if type(event) not in _TOUCHES:
        return step.effects
    if isinstance(event, e.StepSucceeded) and step.prepared is not None and step.prepared.changes_tree:
        prepared = step.prepared
        published = Published(seq, at, event.attempt, prepared.base_tree, prepared.result_tree)
        return (*step.effects, published)
    if isinstance(event, e.StepReverted):
        now = in_place(step.effects)
        if now is None:
            raise IllegalTransitionError(f"nothing of step {step.number} is there to revert")
        gone = replace(now, seq=seq, at=at, undone_by="revert", operation_id=event.operation_id)
        return (*step.effects, gone)
    again = isinstance(event, e.StepRetried) and step.state is StepState.SUCCEEDED
    if again and undone(step.effects) is None:
        raise IllegalTransitionError(f"step {step.number} has succeeded and was not undone")
    return step.effects


def moment_after(run: Run, number: int) -> tuple[str, int]:
    """What "after step `number`" means everywhere: the tree it left when it last ended, and the event that told it.

    A step that was passed over counts as the one before it. What was undone or tried again since does not count:
    it is the tree as it was then. 0, or before the first own step of a fork: the tree the run began with, event 0.
    """
    for step in reversed(run.steps[:number]):
        if step.head_tree and not step.inherited:
            return step.head_tree, step.ended_seq
    return run.base_tree, 0
