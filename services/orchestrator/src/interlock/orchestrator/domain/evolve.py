"""Folding events into a run. `evolve` is total on journals this software wrote and refuses everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.model import (
    STEP_ACTIVE,
    STEP_FINAL,
    ZERO_DIGEST,
    Gate,
    Planning,
    Rollback,
    Run,
    RunState,
    Step,
    StepState,
    Verdict,
)
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
    before, step = run, run.step(event.step) if event.step else None
    if event.step and step is None:
        raise IllegalTransitionError(f"{event.type} names step {event.step}, which does not exist")
    changes: dict[str, Any] = {"seq": record.seq, "head": record.digest, "updated_at": record.at}
    targets = run_targets(event.type, run.state)
    changes["state"] = targets[0] if len(targets) == 1 else _RUN_CHOICE[type(event)](run, event)
    run = replace(run, **changes)
    if step is not None:
        run = _put(run, _step(step, event, record.at))
        run = _bookkeep(run, before, event)
    handler = _RUN_FIELDS.get(type(event))
    return handler(run, event) if handler else run


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
    return RunState.PLANNED if run.steps else RunState.CREATED


_RUN_CHOICE: dict[type[e.Event], Callable[[Run, Any], RunState]] = {
    e.RunResumed: _resumed_state,
    e.Planned: _planned_state,
    e.PlanningFailed: _unplanned_state,
}


# -- fields of the run ------------------------------------------------------------------------------------------


def _steps_added(run: Run, event: e.StepsAdded) -> Run:
    if event.first != len(run.steps) + 1:
        raise IllegalTransitionError(f"steps from {event.first} cannot follow {len(run.steps)} steps")
    added = tuple(Step(number, spec) for number, spec in enumerate(event.specs, event.first))
    return replace(run, steps=run.steps + added)


def _planned(run: Run, event: e.Planned) -> Run:
    run = replace(run, planning=None)
    return _end_pending(run, StepState.SKIPPED) if event.replaces_pending else run


def _cancel_requested(run: Run, event: e.CancelRequested) -> Run:
    step = run.current
    under_way = step is not None and _can_be_stopped(step)
    discards = (
        (*run.discards, (step.number, step.attempt)) if step is not None and under_way else run.discards
    )
    return replace(run, cancelling=True, discards=discards)


def _can_be_stopped(step: Step) -> bool:
    """Whether the executor may be computing this step, with nothing published yet."""
    if step.state is StepState.PREPARING:
        return True
    return step.state is StepState.APPLYING and (step.prepared is None or not step.prepared.effect_digest)


def _end_pending(run: Run, state: StepState) -> Run:
    steps = tuple(
        replace(s, state=state, ended_at=run.updated_at) if s.state is StepState.PENDING else s
        for s in run.steps
    )
    done = sum(s.state in STEP_FINAL for s in steps)
    return replace(run, steps=steps, steps_done=done, scan_from=len(steps) + 1)


def _resumed(run: Run, event: e.RunResumed) -> Run:
    return replace(run, pause_reason="", failure=None, steps_allowed=_allowance(event.single_step))


def _allowance(single_step: bool) -> int | None:
    return 1 if single_step else None


def _without_discard(run: Run, event: e.EffectDiscarded) -> Run:
    gone = (event.step, event.attempt)
    return replace(run, discards=tuple(d for d in run.discards if d != gone))


_RUN_FIELDS: dict[type[e.Event], Callable[[Run, Any], Run]] = {
    e.StepsAdded: _steps_added,
    e.PlanningStarted: lambda run, ev: replace(
        run, planning=Planning(ev.additional_context, ev.max_steps, ev.feedback)
    ),
    e.Planned: _planned,
    e.PlanningFailed: lambda run, ev: replace(run, planning=None),
    e.RunStarted: lambda run, ev: replace(run, steps_allowed=_allowance(ev.single_step)),
    e.RunPaused: lambda run, ev: replace(run, pause_reason=ev.reason, steps_allowed=None),
    e.RunResumed: _resumed,
    e.RunFailed: lambda run, ev: replace(run, failure=ev.failure, planning=None, pause_reason=""),
    e.CancelRequested: _cancel_requested,
    e.RunCancelled: lambda run, ev: replace(
        _end_pending(run, StepState.CANCELLED), cancelling=False, planning=None, pause_reason=""
    ),
    e.RollbackRequested: lambda run, ev: replace(
        run, rollback=Rollback(ev.operation_id, ev.tree, ev.to_step)
    ),
    e.RolledBack: lambda run, ev: replace(run, rollback=None, head_tree=ev.head_tree),
    e.RollbackFailed: lambda run, ev: replace(run, rollback=None),
    e.ModelCalled: lambda run, ev: run if ev.step else replace(run, model_calls=(*run.model_calls, ev.call)),
    e.DriftAdopted: lambda run, ev: replace(run, head_tree=ev.to_tree),
    e.EffectDiscarded: _without_discard,
}


# -- the step ---------------------------------------------------------------------------------------------------


def _step(step: Step, event: e.Event, at: datetime) -> Step:
    targets = step_targets(event.type, step.state)
    state = targets[0] if len(targets) == 1 else _STEP_CHOICE[type(event)](event)
    changes: dict[str, Any] = {}
    handler = _STEP_FIELDS.get(type(event))
    if handler:
        changes = handler(step, event)
    if state in STEP_FINAL or state is StepState.OUTCOME_UNKNOWN:
        changes["ended_at"] = at
    if isinstance(event, e.StepStarted):
        changes["started_at"] = step.started_at or at
    if state is StepState.PENDING:
        changes["ended_at"] = None
    return replace(step, state=state, **changes)


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


_FRESH: dict[str, Any] = {
    "approval": None,
    "approved_request": "",
    "approved_digest": "",
    "prepared": None,
}
"""What a new attempt starts without: everything that was about the attempt before."""


_STEP_FIELDS: dict[type[e.Event], Callable[[Step, Any], dict[str, Any]]] = {
    e.StepStarted: lambda s, ev: {
        **_FRESH,
        "attempt": ev.attempt,
        "gate": Gate(ev.gate),
        "failure": None,
        "draft_payload": "",
    },
    e.StepDrafted: lambda s, ev: {"draft_payload": ev.draft_payload},
    e.StepProposed: lambda s, ev: {"prepared": ev.prepared},
    e.StepPrepared: lambda s, ev: {"prepared": ev.prepared},
    e.ApprovalRequested: lambda s, ev: {"approval": ev.approval, "last_approval_id": ev.approval.approval_id},
    e.ApprovalDecided: _decided,
    e.ApprovalExpired: lambda s, ev: {"approval": None},
    e.ApprovalCancelled: lambda s, ev: {"approval": None},
    e.StepEdited: lambda s, ev: {
        **_FRESH,
        "attempt": ev.attempt,
        "spec": replace(s.spec, input=ev.input),
        "draft_payload": "",
    },
    e.PreviewSuperseded: lambda s, ev: {**_FRESH, "attempt": ev.attempt},
    e.ModelCalled: lambda s, ev: {"model_calls": (*s.model_calls, ev.call)},
    e.StepSucceeded: lambda s, ev: {"head_tree": ev.head_tree, "reply_payload": ev.reply_payload},
    e.StepFailed: lambda s, ev: {"failure": ev.failure, "failures": s.failures + 1},
    e.StepRejected: lambda s, ev: {"failure": ev.failure},
    e.StepOutcomeUnknown: lambda s, ev: {"failure": ev.failure},
    e.StepRetried: lambda s, ev: {"failures": 0, "failure": None},
}

_ABANDONS = (e.StepEdited, e.PreviewSuperseded, e.StepFailed, e.StepRejected, e.StepSkipped, e.StepCancelled)


def _put(run: Run, step: Step) -> Run:
    index = step.number - 1
    return replace(run, steps=(*run.steps[:index], step, *run.steps[index + 1 :]))


def _bookkeep(run: Run, before: Run, event: e.Event) -> Run:
    """What follows for the run from a change of one of its steps."""
    old, new = before.steps[event.step - 1], run.steps[event.step - 1]
    changes: dict[str, Any] = {}
    done = (new.state in STEP_FINAL) - (old.state in STEP_FINAL)
    if done:
        changes["steps_done"] = run.steps_done + done
    if new.state in STEP_ACTIVE and old.state not in STEP_ACTIVE:
        changes["cursor"] = new.number
        if new.number == run.scan_from:
            changes["scan_from"] = new.number + 1
    if new.state is StepState.PENDING:
        changes["scan_from"] = min(run.scan_from, new.number)
    if isinstance(event, e.StepStarted) and run.steps_allowed is not None:
        changes["steps_allowed"] = run.steps_allowed - 1
    if (
        isinstance(event, _ABANDONS)
        and old.state in STEP_ACTIVE
        and old.prepared
        and old.prepared.effect_digest
    ):
        changes["discards"] = (*run.discards, (old.number, old.attempt))
    if isinstance(event, (e.StepProposed, e.StepPrepared)) and not run.base_tree:
        changes["base_tree"] = event.prepared.base_tree
        changes["head_tree"] = event.prepared.base_tree
    if isinstance(event, e.StepSucceeded) and event.head_tree:
        changes["head_tree"] = event.head_tree
    return replace(run, **changes) if changes else run
