"""Folding events into a run. `evolve` is total on journals this software wrote and refuses everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain import undo
from interlock.orchestrator.domain.actions import Prepare, step_action
from interlock.orchestrator.domain.inherit import inherited_steps
from interlock.orchestrator.domain.model import (
    STEP_ACTIVE,
    STEP_FINAL,
    ZERO_DIGEST,
    Gate,
    Planning,
    Reviewed,
    Run,
    RunState,
    Step,
    StepState,
    Superseded,
    Verdict,
    Waiting,
)
from interlock.orchestrator.domain.steps import Chunked
from interlock.orchestrator.domain.transitions import IllegalTransitionError, run_targets, step_targets


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event with its place in the run's chain."""

    run_id: str
    seq: int
    at: datetime
    event: e.Event
    digest: str = ZERO_DIGEST


def fold(records: Iterable[Recorded], run: Run | None = None) -> Run | None:
    """The state after all events, starting from `run`."""
    for record in records:
        run = evolve(run, record)
    return run


def evolve(run: Run | None, record: Recorded) -> Run:
    """The state after one event. Raises IllegalTransitionError for an event that cannot happen now."""
    event = record.event
    if run is None:
        return _created(record)
    if record.seq != run.seq + 1:
        raise IllegalTransitionError(f"event {record.seq} cannot follow event {run.seq}")
    changes: dict[str, Any] = {"seq": record.seq, "head": record.digest, "updated_at": record.at}
    targets = run_targets(event.type, run.state)
    changes["state"] = targets[0] if len(targets) == 1 else _RUN_CHOICE[type(event)](run, event)
    if event.step:
        old = run.step(event.step)
        if old is None:
            raise IllegalTransitionError(f"{event.type} names step {event.step}, which does not exist")
        new = _step(old, event, record.at, run.head_tree)
        new = undo.after_event(old, new, event, record.seq, record.at)
        changes["steps"] = run.steps.put(old.number - 1, new)
        changes.update(_bookkeep(run, old, new, event))
    handler = _RUN_FIELDS.get(type(event))
    if handler:
        changes.update(handler(run, event, record.at))
    return replace(run, **changes)


def _created(record: Recorded) -> Run:
    event = record.event
    if not isinstance(event, e.RunCreated) or record.seq != 1:
        raise IllegalTransitionError(f"{event.type} cannot be the first event of a run")
    return Run(
        run_id=record.run_id,
        goal=event.goal,
        workspace_id=event.workspace_id,
        created_by=event.created_by,
        created_at=record.at,
        updated_at=record.at,
        policy=event.policy,
        budget=event.budget,
        labels=event.labels,
        traceparent=event.traceparent,
        fork=event.fork,
        base_tree=event.fork.tree if event.fork else "",
        head_tree=event.fork.tree if event.fork else "",
        seq=1,
        head=record.digest,
    )


# -- the state of the run, where the table leaves a choice ------------------------------------------------------


def _resumed_state(run: Run, event: Any) -> RunState:
    current = run.current
    waits = current is not None and current.state is StepState.AWAITING_APPROVAL
    return RunState.AWAITING_APPROVAL if waits else RunState.RUNNING


def _planned_state(run: Run, event: Any) -> RunState:
    return RunState.RUNNING if run.planning is not None and run.planning.feedback else RunState.PLANNED


def _unplanned_state(run: Run, event: Any) -> RunState:
    return RunState.PLANNED if len(run.steps) > run.inherited else RunState.CREATED


_RUN_CHOICE: dict[type[e.Event], Callable[[Run, Any], RunState]] = {
    e.RunResumed: _resumed_state,
    e.Planned: _planned_state,
    e.PlanningFailed: _unplanned_state,
}


# -- fields of the run ------------------------------------------------------------------------------------------


def _steps_added(run: Run, event: e.StepsAdded, at: datetime) -> dict[str, Any]:
    if event.first != len(run.steps) + 1:
        raise IllegalTransitionError(f"steps from {event.first} cannot follow {len(run.steps)} steps")
    added = [Step(number, spec) for number, spec in enumerate(event.specs, event.first)]
    return {"steps": run.steps.extend(added)}


def _steps_inherited(run: Run, event: e.StepsInherited, at: datetime) -> dict[str, Any]:
    last = len(run.steps) + len(event.steps)
    if event.first != len(run.steps) + 1 or last > run.inherited:
        raise IllegalTransitionError(f"steps from {event.first} to {last} are not those of a fork")
    if any(step.state not in STEP_FINAL for step in event.steps):
        raise IllegalTransitionError("a step that has not ended cannot be inherited")
    steps = run.steps.extend(inherited_steps(event.first, event.steps))
    return {"steps": steps, "steps_done": len(steps), "scan_from": len(steps) + 1}


def _planned(run: Run, event: e.Planned, at: datetime) -> dict[str, Any]:
    ended = _end_pending(run, StepState.SKIPPED, at) if event.replaces_pending else {}
    return {"planning": None, **ended}


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


_RUN_FIELDS: dict[type[e.Event], Callable[[Run, Any, datetime], dict[str, Any]]] = {
    e.StepsAdded: _steps_added,
    e.StepsInherited: _steps_inherited,
    e.PlanningStarted: lambda run, ev, at: {
        "planning": Planning(ev.additional_context, ev.max_steps, ev.feedback, asked=run.seq + 1)
    },
    e.Planned: _planned,
    e.PlanningFailed: lambda run, ev, at: {"planning": None},
    e.RunStarted: lambda run, ev, at: {"steps_allowed": 1 if ev.single_step else None, "waiting": None},
    e.RunWaiting: lambda run, ev, at: {"waiting": Waiting(ev.by, at, ev.holder_run)},
    e.RunPaused: lambda run, ev, at: {"pause_reason": ev.reason},
    e.RunResumed: _resumed,
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
    e.ModelCalled: _called,
    e.DriftAdopted: lambda run, ev, at: {"head_tree": ev.to_tree},
    e.EffectDiscarded: _discarded,
}


# -- the step ---------------------------------------------------------------------------------------------------


def _step(step: Step, event: e.Event, at: datetime, head_tree: str) -> Step:
    _consistent(step, event)
    targets = step_targets(event.type, step.state)
    state = targets[0] if len(targets) == 1 else _STEP_CHOICE[type(event)](event)
    handler = _STEP_FIELDS.get(type(event))
    changes: dict[str, Any] = handler(step, event) if handler else {}
    if isinstance(event, e.ApprovalRequested):
        changes["asked_at"] = at
    if isinstance(event, e.ApprovalDecided):
        changes.update(_reviewed(step, event, at))
    if isinstance(event, e.StepStarted):
        changes["started_at"] = step.started_at or at
    if state is not step.state:
        changes["inherited"] = False
        changes.update(_ended(step, state, at, head_tree), **changes)
    return replace(step, state=state, **changes)


def _ended(step: Step, state: StepState, at: datetime, head_tree: str) -> dict[str, Any]:
    """What a step says about its end: when, and where the workspace was; nothing, once it is tried again."""
    if state is StepState.PENDING:
        return {"ended_at": None, "head_tree": ""}
    if state not in STEP_FINAL and state is not StepState.OUTCOME_UNKNOWN:
        return {}
    return {"ended_at": at, "head_tree": head_tree if step.state in STEP_ACTIVE else step.head_tree}


_SAME_ATTEMPT = (
    e.StepProposed,
    e.StepPrepared,
    e.StepExecuting,
    e.StepApplying,
    e.StepSucceeded,
    e.StepFailed,
)
_NEXT_ATTEMPT = (e.StepStarted, e.StepEdited, e.PreviewSuperseded)


def _consistent(step: Step, event: e.Event) -> None:
    """Refuses an event that is about another attempt or another approval than the step's."""
    if isinstance(event, (e.ApprovalDecided, e.ApprovalExpired, e.ApprovalCancelled)):
        expected: object = step.approval.approval_id if step.approval else ""
        named: object = event.approval_id
    elif isinstance(event, e.ApprovalRequested):
        expected, named = step.attempt, event.approval.attempt
    elif isinstance(event, _SAME_ATTEMPT):
        expected, named = step.attempt, event.attempt
    elif isinstance(event, _NEXT_ATTEMPT):
        expected, named = step.attempt + 1, event.attempt
    else:
        return
    if named != expected:
        raise IllegalTransitionError(
            f"{event.type} names {named!r}, but step {step.number} is at {expected!r}"
        )


def _decided_state(event: Any) -> StepState:
    return StepState.APPROVED if event.verdict is Verdict.APPROVE else StepState.AWAITING_APPROVAL


_STEP_CHOICE: dict[type[e.Event], Callable[[Any], StepState]] = {
    e.ApprovalDecided: _decided_state,
    e.StepFailed: lambda ev: StepState.PENDING if ev.will_retry else StepState.FAILED,
}


def _decided(step: Step, event: e.ApprovalDecided) -> dict[str, Any]:
    if event.verdict is not Verdict.APPROVE or step.approval is None:
        return {"approval": None}
    asked = step.approval.gate
    request = {"approved_request": event.digest} if asked is Gate.COMMAND else {}
    return {"approval": None, "approved_digest": event.digest, **request}


def _reviewed(step: Step, event: e.ApprovalDecided, at: datetime) -> dict[str, Any]:
    asked = step.approval
    if event.verdict is not Verdict.APPROVE or asked is None or step.prepared is None:
        return {}
    answer = Reviewed(
        asked, step.asked_at or at, at, event.subject, event.channel, event.comment, step.prepared
    )
    others = tuple(r for r in step.reviewed if r.approval.gate is not asked.gate)
    return {"reviewed": (*others, answer)}


def _superseded(step: Step, event: e.PreviewSuperseded) -> dict[str, Any]:
    times = step.superseded.times + 1 if step.superseded else 1
    return {
        **_FRESH,
        "attempt": event.attempt,
        "superseded": Superseded(event.reason, times, event.paths),
    }


_FRESH: dict[str, Any] = {
    "approval": None,
    "approved_request": "",
    "approved_digest": "",
    "draft_payload": "",
    "prepared": None,
}
"""What a new attempt starts without: everything that was about the attempt before."""

_UNREVIEWED: dict[str, Any] = {"reviewed": (), "superseded": None}
"""What a step starts without that is another one than people have seen."""


_STEP_FIELDS: dict[type[e.Event], Callable[[Step, Any], dict[str, Any]]] = {
    e.StepStarted: lambda s, ev: {
        **_FRESH,
        **_UNREVIEWED,
        "attempt": ev.attempt,
        "gate": Gate(ev.gate),
        "failure": None,
    },
    e.StepDrafted: lambda s, ev: {"draft_payload": ev.draft_payload},
    e.StepProposed: lambda s, ev: {"prepared": ev.prepared},
    e.StepPrepared: lambda s, ev: {"prepared": ev.prepared, "computed": ev.attempt},
    e.ApprovalRequested: lambda s, ev: {"approval": ev.approval, "last_approval_id": ev.approval.approval_id},
    e.ApprovalDecided: _decided,
    e.ApprovalExpired: lambda s, ev: {"approval": None},
    e.ApprovalCancelled: lambda s, ev: {"approval": None},
    e.StepEdited: lambda s, ev: {
        **_FRESH,
        **_UNREVIEWED,
        "attempt": ev.attempt,
        "spec": replace(s.spec, input=ev.input),
        "gate": Gate(ev.gate),
    },
    e.PreviewSuperseded: _superseded,
    e.ModelCalled: lambda s, ev: {"model_calls": (*s.model_calls, ev.call)},
    e.EffectDiscarded: lambda s, ev: {"discarded": max(s.discarded, ev.attempt)},
    e.StepSucceeded: lambda s, ev: {
        "head_tree": ev.head_tree,
        "reply_payload": ev.reply_payload,
        "kept_paths": ev.kept_paths,
        "kept_total": ev.kept_total,
    },
    e.StepFailed: lambda s, ev: {"failure": ev.failure, "failures": s.failures + 1},
    e.StepRejected: lambda s, ev: {"failure": ev.failure},
    e.StepOutcomeUnknown: lambda s, ev: {"failure": ev.failure},
    e.StepRetried: lambda s, ev: {"failures": 0, "failure": None, "kept_paths": (), "kept_total": 0},
}

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


def _bookkeep(run: Run, old: Step, new: Step, event: e.Event) -> dict[str, Any]:
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
    return -1 if isinstance(event, e.StepStarted) else 0
