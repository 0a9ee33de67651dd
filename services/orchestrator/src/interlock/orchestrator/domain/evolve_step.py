"""What an event changes in the step that it is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain import undo
from interlock.orchestrator.domain.model import (
    STEP_ACTIVE,
    STEP_FINAL,
    Gate,
    Reviewed,
    Step,
    StepState,
    Superseded,
    Verdict,
    Vote,
    changed_step,
)
from interlock.orchestrator.domain.transitions import IllegalTransitionError, step_targets

_MICROSECOND: Final = timedelta(microseconds=1)


def evolve_step(step: Step, event: e.Event, seq: int, at: datetime, head_tree: str) -> Step:
    """The step after event `seq` at `at`, when the workspace was at `head_tree`. Raises IllegalTransitionError."""
    _consistent(step, event)
    targets = step_targets(event.type, step.state)
    state = targets[0] if len(targets) == 1 else _STEP_CHOICE[type(event)](event)
    handler = _STEP_FIELDS.get(type(event))
    changes: dict[str, Any] = handler(step, event) if handler else {}
    timed = _TIMED.get(type(event))
    if timed:
        changes.update(timed(step, event, at))
    if state is not step.state:
        changes["inherited"] = False
        changes.update(_ended(step, state, at, head_tree), **changes)
        changes.update(_idle(step, state, at))
    changes.update(undo.after_event(step, state, event, seq, at))
    changes["state"] = state
    return changed_step(step, changes)


def _ended(step: Step, state: StepState, at: datetime, head_tree: str) -> dict[str, Any]:
    """What a step says about its end: when, and where the workspace was; nothing, once it is tried again."""
    if state is StepState.PENDING:
        return {"ended_at": None, "head_tree": ""}
    if state not in STEP_FINAL and state is not StepState.OUTCOME_UNKNOWN:
        return {}
    return {"ended_at": at, "head_tree": head_tree if step.state in STEP_ACTIVE else step.head_tree}


def _idle(step: Step, state: StepState, at: datetime) -> dict[str, Any]:
    """The time that it has waited, for a decision or to be tried again, when it goes on or ends.

    What had succeeded waited for nobody: when it is tried again, once undone, it begins anew.
    """
    if step.state is StepState.SUCCEEDED:
        return {"started_at": None, "waited_us": 0, "idle_since": None}
    waited = (at - step.idle_since) // _MICROSECOND if step.idle_since else 0
    works = state in STEP_ACTIVE and state is not StepState.AWAITING_APPROVAL
    return {
        "waited_us": step.waited_us + max(waited, 0),
        "idle_since": None if works or step.started_at is None else at,
    }


_OF_APPROVAL = (
    e.ApprovalVoted,
    e.ApprovalReminded,
    e.ApprovalEscalated,
    e.ApprovalDecided,
    e.ApprovalExpired,
    e.ApprovalCancelled,
)
_SAME_ATTEMPT = (
    e.StepProposed,
    e.StepPrepared,
    e.StepRuled,
    e.EnvelopeTried,
    e.EnvelopeUsed,
    e.StepExecuting,
    e.StepApplying,
    e.StepSucceeded,
    e.StepFailed,
)
_NEXT_ATTEMPT = (e.StepStarted, e.StepEdited, e.PreviewSuperseded)
_COMPARED: dict[type[e.Event], Callable[[Step, Any], tuple[object, object]]] = {
    **dict.fromkeys(
        _OF_APPROVAL, lambda s, ev: (s.approval.approval_id if s.approval else "", ev.approval_id)
    ),
    e.ApprovalRequested: lambda s, ev: (s.attempt, ev.approval.attempt),
    **dict.fromkeys(_SAME_ATTEMPT, lambda s, ev: (s.attempt, ev.attempt)),
    **dict.fromkeys(_NEXT_ATTEMPT, lambda s, ev: (s.attempt + 1, ev.attempt)),
}
"""What an event must name, and what it names, by its type."""


def _consistent(step: Step, event: e.Event) -> None:
    """Refuses an event that is about another attempt or another approval than the step's."""
    compared = _COMPARED.get(type(event))
    if compared is None:
        return
    expected, named = compared(step, event)
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
    if event.verdict is Verdict.EDIT:
        people = (event.subject, event.on_behalf_of) if event.on_behalf_of else (event.subject,)
        return {"approval": None, "authors": (*step.authors, *people)}
    if event.verdict is not Verdict.APPROVE or step.approval is None:
        return {"approval": None}
    asked = step.approval.gate
    request = {"approved_request": event.digest} if asked is Gate.COMMAND else {}
    return {"approval": None, "approved_digest": event.digest, **request}


def _vote(event: e.ApprovalVoted, at: datetime) -> Vote:
    return Vote(
        event.subject,
        event.stage,
        at,
        event.channel,
        event.comment,
        event.authentication,
        event.on_behalf_of,
        event.delegation,
        event.groups,
    )


def _reviewed(step: Step, event: e.ApprovalDecided, at: datetime) -> dict[str, Any]:
    asked = step.approval
    if event.verdict is not Verdict.APPROVE or asked is None or step.prepared is None:
        return {}
    answer = Reviewed(
        asked,
        step.asked_at or at,
        at,
        event.subject,
        event.channel,
        event.comment,
        step.prepared,
        event.authentication,
        event.on_behalf_of,
        event.delegation,
    )
    others = tuple(r for r in step.reviewed if r.approval.gate is not asked.gate)
    return {"reviewed": (*others, answer)}


def _superseded(step: Step, event: e.PreviewSuperseded) -> dict[str, Any]:
    times = step.superseded.times + 1 if step.superseded else 1
    return {
        **_FRESH,
        "attempt": event.attempt,
        "judge": event.judge,
        "superseded": Superseded(event.reason, times, event.paths),
    }


_FRESH: dict[str, Any] = {
    "approval": None,
    "approved_request": "",
    "approved_digest": "",
    "draft_payload": "",
    "prepared": None,
    "judge": False,
    "ruling": None,
    "observed": None,
    "tried_request": "",
    "envelope": "",
}
"""What a new attempt starts without: everything that was about the attempt before."""


def _of_others(step: Step, event: e.ApprovalVoted | e.ApprovalDecided) -> dict[str, Any]:
    """The decisions kept for later, without the one that was made now."""
    made = (event.subject, event.digest)
    return {"early": tuple(each for each in step.early if (each.subject, each.digest) != made)}


_TIMED: dict[type[e.Event], Callable[[Step, Any, datetime], dict[str, Any]]] = {
    e.StepStarted: lambda s, ev, at: {"started_at": s.started_at or at},
    e.ApprovalRequested: lambda s, ev, at: {"asked_at": at},
    e.ApprovalReminded: lambda s, ev, at: {"reminded_at": at},
    e.ApprovalEscalated: lambda s, ev, at: {"escalated_at": at},
    e.ApprovalVoted: lambda s, ev, at: {**_of_others(s, ev), "votes": (*s.votes, _vote(ev, at))},
    e.ApprovalDecided: lambda s, ev, at: {**_of_others(s, ev), **_reviewed(s, ev, at)},
}
"""Fields that events change to when they happened, beside those of `_STEP_FIELDS`."""


_UNREVIEWED: dict[str, Any] = {"reviewed": (), "superseded": None, "edited_by": ""}
"""What a step starts without that is another one than people have seen."""


_STEP_FIELDS: dict[type[e.Event], Callable[[Step, Any], dict[str, Any]]] = {
    e.StepStarted: lambda s, ev: {
        **_FRESH,
        **_UNREVIEWED,
        "attempt": ev.attempt,
        "gate": Gate(ev.gate),
        "judge": ev.judge,
        "failure": None,
    },
    e.StepRuled: lambda s, ev: {
        "observed" if ev.ruling.observed else "ruling": ev.ruling,
        "gate": Gate(ev.gate),
    },
    e.StepDrafted: lambda s, ev: {"draft_payload": ev.draft_payload},
    e.StepProposed: lambda s, ev: {"prepared": ev.prepared},
    e.StepPrepared: lambda s, ev: {"prepared": ev.prepared, "computed": ev.attempt},
    e.ApprovalRequested: lambda s, ev: {
        "approval": ev.approval,
        "last_approval_id": ev.approval.approval_id,
        "votes": (),
        "reminders": 0,
        "reminded_at": None,
        "escalated_at": None,
    },
    e.DecisionKept: lambda s, ev: {"early": (*s.early, ev.decision)},
    e.DecisionWithdrawn: lambda s, ev: {
        "early": tuple(each for each in s.early if (each.subject, each.digest) != (ev.subject, ev.digest))
    },
    e.ApprovalReminded: lambda s, ev: {"reminders": ev.number},
    e.EnvelopeTried: lambda s, ev: {"tried_request": ev.request},
    e.EnvelopeUsed: lambda s, ev: {"envelope": ev.envelope_id},
    e.ApprovalDecided: _decided,
    e.ApprovalExpired: lambda s, ev: {"approval": None},
    e.ApprovalCancelled: lambda s, ev: {"approval": None},
    e.StepEdited: lambda s, ev: {
        **_FRESH,
        **_UNREVIEWED,
        "attempt": ev.attempt,
        "spec": replace(s.spec, input=ev.input),
        "edited_by": ev.by,
        "gate": Gate(ev.gate),
        "judge": ev.judge,
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
