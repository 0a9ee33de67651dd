"""What an event changes in a run's own fields, and what follows for the run from a change of one of its steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain import undo
from interlock.orchestrator.domain.actions import Prepare, step_action
from interlock.orchestrator.domain.inherit import inherited_steps
from interlock.orchestrator.domain.model import (
    STEP_ACTIVE,
    STEP_FINAL,
    Envelope,
    EnvelopeState,
    EnvelopeUse,
    PauseReason,
    Planning,
    Run,
    RunState,
    SetAside,
    Step,
    StepState,
    Waiting,
)
from interlock.orchestrator.domain.people import PLANNER
from interlock.orchestrator.domain.steps import Chunked
from interlock.orchestrator.domain.transitions import IllegalTransitionError

# -- the state of the run, where the table leaves a choice ------------------------------------------------------


def _resumed_state(run: Run, event: Any) -> RunState:
    if run.planning is not None:
        return RunState.PLANNING
    current = run.current
    waits = current is not None and current.state is StepState.AWAITING_APPROVAL
    return RunState.AWAITING_APPROVAL if waits else RunState.RUNNING


def _planned_state(run: Run, event: Any) -> RunState:
    asked = run.planning
    goes_on = asked is not None and asked.again and asked.then != "planned"
    return RunState.RUNNING if goes_on else RunState.PLANNED


def _unplanned_state(run: Run, event: Any) -> RunState:
    asked = run.planning
    if asked is not None and asked.again and asked.then != "planned":
        return RunState.RUNNING
    return RunState.PLANNED if len(run.steps) > run.inherited else RunState.CREATED


STATE_CHOICE: dict[type[e.Event], Callable[[Run, Any], RunState]] = {
    e.RunResumed: _resumed_state,
    e.Planned: _planned_state,
    e.PlanningFailed: _unplanned_state,
}
"""The run's next state after events that may lead to more than one."""


# -- fields of the run ------------------------------------------------------------------------------------------


def _steps_added(run: Run, event: e.StepsAdded, at: datetime) -> dict[str, Any]:
    if event.first != len(run.steps) + 1:
        raise IllegalTransitionError(f"steps from {event.first} cannot follow {len(run.steps)} steps")
    by = (*event.asked_by, event.by) if event.by else event.asked_by
    if event.by == PLANNER and run.planned_for:
        by = (run.planned_for, *by)  # what the planner was told is theirs
    added = [Step(number, spec, authors=by) for number, spec in enumerate(event.specs, event.first)]
    return {"steps": run.steps.extend(added)}


def _steps_inherited(run: Run, event: e.StepsInherited, at: datetime) -> dict[str, Any]:
    last = len(run.steps) + len(event.steps)
    if event.first != len(run.steps) + 1 or last > run.inherited:
        raise IllegalTransitionError(f"steps from {event.first} to {last} are not those of a fork")
    if any(step.state not in STEP_FINAL for step in event.steps):
        raise IllegalTransitionError("a step that has not ended cannot be inherited")
    steps = run.steps.extend(inherited_steps(event.first, event.steps, at))
    return {"steps": steps, "steps_done": len(steps), "scan_from": len(steps) + 1}


def _planned(run: Run, event: e.Planned, at: datetime) -> dict[str, Any]:
    if not event.replaces_pending:
        return {"planning": None}
    return {"planning": None, "settled": len(run.steps), **_end_pending(run, StepState.SKIPPED, at)}


def _cancel_requested(run: Run, event: e.CancelRequested, at: datetime) -> dict[str, Any]:
    step = run.current
    computing = step is not None and isinstance(step_action(step), Prepare)
    return {"cancelling": True, **(_discard(run, step) if step is not None and computing else {})}


def _cancelled(run: Run, event: e.RunCancelled, at: datetime) -> dict[str, Any]:
    ended = _end_pending(run, StepState.CANCELLED, at)
    return {"cancelling": False, "planning": None, "waiting": None, "pause_reason": "", **ended}


def _end_pending(run: Run, state: StepState, at: datetime) -> dict[str, Any]:
    steps = Chunked(
        replace(s, state=state, ended_at=at) if s.state is StepState.PENDING else s for s in run.steps
    )
    done = sum(s.state in STEP_FINAL for s in steps)
    return {"steps": steps, "steps_done": done, "scan_from": len(steps) + 1}


def _resumed(run: Run, event: e.RunResumed, at: datetime) -> dict[str, Any]:
    # The step under way, if there is one, is the next step: no other may start.
    allowed = (1 if run.current is None else 0) if event.single_step else None
    return {"pause_reason": "", "failure": None, "steps_allowed": allowed}


def _discard(run: Run, step: Step) -> dict[str, Any]:
    gone = (step.number, step.attempt)
    return {} if gone in run.discards else {"discards": (*run.discards, gone)}


def _discarded(run: Run, event: e.EffectDiscarded, at: datetime) -> dict[str, Any]:
    gone = (event.step, event.attempt)
    if gone not in run.discards:
        raise IllegalTransitionError(f"attempt {event.attempt} of step {event.step} is not to be discarded")
    return {"discards": tuple(d for d in run.discards if d != gone)}


def _called(run: Run, event: e.ModelCalled, at: datetime) -> dict[str, Any]:
    of_run = {} if event.step else {"model_calls": (*run.model_calls, event.call)}
    return {"spent": run.spent.plus(event.call), **of_run}


def _granted(run: Run, event: e.EnvelopeGranted, at: datetime) -> dict[str, Any]:
    made = Envelope(
        event.envelope_id,
        event.bounds,
        event.by,
        at,
        event.on_behalf_of,
        event.authentication,
        event.channel,
        event.comment,
        event.approval_id,
        event.expires_at,
        run.spent.cost_micros or 0,
        run.spent.unpriced,
        delegation=event.delegation,
        groups=event.groups,
    )
    return {"envelopes": (*run.envelopes, made)}


def _used(run: Run, event: e.EnvelopeUsed, at: datetime) -> dict[str, Any]:
    known = next(each for each in run.envelopes if each.envelope_id == event.envelope_id)
    use = EnvelopeUse(event.step, event.attempt, event.size)
    return _of_envelope(run, event.envelope_id, uses=(*known.uses, use))


def _of_envelope(run: Run, envelope_id: str, **fields: Any) -> dict[str, Any]:
    if all(each.envelope_id != envelope_id for each in run.envelopes):
        raise IllegalTransitionError(f"there is no envelope {envelope_id}")
    changed = (replace(each, **fields) if each.envelope_id == envelope_id else each for each in run.envelopes)
    return {"envelopes": tuple(changed)}


FIELDS: dict[type[e.Event], Callable[[Run, Any, datetime], dict[str, Any]]] = {
    e.StepsAdded: _steps_added,
    e.StepsInherited: _steps_inherited,
    e.AgentNamed: lambda run, ev, at: {
        "owners": {**run.owners, ev.subject: (*run.owners.get(ev.subject, ()), ev.owner)}
    },
    e.DecisionKept: lambda run, ev, at: {"keeping": tuple(sorted({*run.keeping, ev.step}))},
    e.PlanningStarted: lambda run, ev, at: {
        "planning": Planning(
            ev.additional_context, ev.max_steps, ev.feedback, run.seq + 1, ev.going_on, ev.then
        ),
        "planned_for": ev.by,
    },
    e.Planned: _planned,
    e.PlanningFailed: lambda run, ev, at: {"planning": None},
    e.RunStarted: lambda run, ev, at: {"steps_allowed": 1 if ev.single_step else None, "waiting": None},
    e.RunWaiting: lambda run, ev, at: {"waiting": Waiting(ev.by, at, ev.holder_run)},
    e.RunPaused: lambda run, ev, at: {"pause_reason": ev.reason},
    e.BudgetReached: lambda run, ev, at: (
        {} if run.state is RunState.PAUSED else {"pause_reason": PauseReason.BUDGET_REACHED.value}
    ),
    e.BudgetSet: lambda run, ev, at: {"budget": ev.budget},
    e.RunResumed: _resumed,
    e.RunSetAside: lambda run, ev, at: {"set_aside": SetAside(ev.action, ev.failure, ev.tries, at)},
    e.RunTakenUp: lambda run, ev, at: {"set_aside": None},
    e.RunFailed: lambda run, ev, at: {"failure": ev.failure, "planning": None, "pause_reason": ""},
    e.CancelRequested: _cancel_requested,
    e.RunCancelled: _cancelled,
    e.RollbackRequested: undo.rollback_requested,
    e.RolledBack: undo.rollback_ended,
    e.RollbackFailed: undo.rollback_ended,
    e.StepRevertRequested: undo.revert_requested,
    e.StepReverted: undo.revert_ended,
    e.StepRevertFailed: undo.revert_ended,
    e.RunReopened: undo.run_reopened,
    e.RunOvertaken: undo.overtaken,
    e.EnvelopeGranted: _granted,
    e.EnvelopeUsed: _used,
    e.EnvelopeRevoked: lambda run, ev, at: _of_envelope(
        run, ev.envelope_id, state=EnvelopeState.REVOKED, revoked_by=ev.by
    ),
    e.EnvelopeExhausted: lambda run, ev, at: _of_envelope(run, ev.envelope_id, state=EnvelopeState.EXHAUSTED),
    e.ModelCalled: _called,
    e.DriftAdopted: lambda run, ev, at: {"head_tree": ev.to_tree},
    e.EffectDiscarded: _discarded,
    e.WorkspaceRemoved: lambda run, ev, at: {"workspace_removed": True},
}
"""The run's fields that an event changes, by its type."""


# -- what follows from a step -----------------------------------------------------------------------------------

_ABANDONS = (e.StepEdited, e.PreviewSuperseded, e.StepFailed, e.StepRejected, e.StepSkipped, e.StepCancelled)


def _leaves_behind(old: Step, event: e.Event) -> bool:
    """Whether the executor may still hold, or be computing, what the step turns its back on."""
    if old.state is StepState.OUTCOME_UNKNOWN:
        return isinstance(event, (e.StepRetried, e.StepSkipped)) and old.discarded != old.attempt
    if old.state not in STEP_ACTIVE or not isinstance(event, _ABANDONS):
        return False
    if old.computed == old.attempt:
        return old.prepared is not None and bool(old.prepared.effect_digest)
    # Cancelling has asked for the discard already, and waited for it.
    return isinstance(step_action(old), Prepare) and not isinstance(event, e.StepCancelled)


def _unused(run: Run, step: Step) -> tuple[Envelope, ...]:
    """The envelopes without an attempt that was let through and came to nothing: it does not count."""
    gone = (step.number, step.attempt)
    return tuple(
        replace(each, uses=tuple(use for use in each.uses if (use.step, use.attempt) != gone))
        for each in run.envelopes
    )


def bookkeep(run: Run, old: Step, new: Step, event: e.Event) -> dict[str, Any]:
    """What follows for the run from a change of one of its steps."""
    changes: dict[str, Any] = {}
    done = (new.state in STEP_FINAL) - (old.state in STEP_FINAL)
    if done:
        changes["steps_done"] = run.steps_done + done
    if new.state in STEP_ACTIVE and old.state not in STEP_ACTIVE:
        if run.current is not None:
            raise IllegalTransitionError(f"step {new.number} cannot start beside step {run.cursor}")
        changes["cursor"] = new.number
        if not old.failures or run.scan_from == new.number:
            # It was the first PENDING one; only a step's own retry goes before others.
            changes["scan_from"] = new.number + 1
    if new.state is StepState.PENDING:
        changes["scan_from"] = min(run.scan_from, new.number)
    if run.steps_allowed is not None:
        changes["steps_allowed"] = run.steps_allowed + _allowance(event)
    if old.envelope and old.state in STEP_ACTIVE and isinstance(event, _ABANDONS):
        changes["envelopes"] = _unused(run, old)
    if _leaves_behind(old, event):
        changes.update(_discard(run, old))
    if isinstance(event, (e.StepProposed, e.StepPrepared)) and not run.base_tree:
        changes.update(base_tree=event.prepared.base_tree, head_tree=event.prepared.base_tree)
    if isinstance(event, e.StepSucceeded) and event.head_tree:
        changes["head_tree"] = event.head_tree
    return changes


def _allowance(event: e.Event) -> int:
    """How an event changes the number of steps that may still start; a step's own retries are the same step."""
    if isinstance(event, e.StepFailed):
        return 1 if event.will_retry else 0
    if isinstance(event, e.BudgetReached):
        return 1 if event.step else 0
    return -1 if isinstance(event, e.StepStarted) else 0
