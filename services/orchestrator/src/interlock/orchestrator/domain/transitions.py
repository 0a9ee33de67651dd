"""The transition tables of runs and steps: the whole of the state machine in two dictionaries.

`evolve` refuses an event that is not in the table, and docs/state-machine.md is generated from it. Where a row
has two targets, the first is the usual one and `evolve` says when the second applies.
"""

from __future__ import annotations

from interlock.orchestrator.domain.model import RunState as R
from interlock.orchestrator.domain.model import StepState as S

ANY_OPEN = (R.CREATED, R.PLANNING, R.PLANNED, R.RUNNING, R.AWAITING_APPROVAL, R.PAUSED)


def _stay(*states: R) -> dict[R, tuple[R, ...]]:
    return {state: (state,) for state in states}


_UNDOING = _stay(R.CREATED, R.PLANNED, R.PAUSED, R.COMPLETED, R.FAILED, R.CANCELLED)
"""CREATED and PLANNED are those of a fork, which has steps that ended before it began."""

RUN: dict[str, dict[R, tuple[R, ...]]] = {
    "run.created": {},  # the first event makes the run CREATED; it never comes again
    "run.steps_added": {
        R.CREATED: (R.PLANNED,),
        **_stay(R.PLANNED, R.RUNNING, R.AWAITING_APPROVAL, R.PAUSED, R.FAILED),
    },
    "run.steps_inherited": _stay(R.CREATED),
    "run.planning_started": {R.CREATED: (R.PLANNING,), R.PLANNED: (R.PLANNING,), R.RUNNING: (R.PLANNING,)},
    "run.planned": {R.PLANNING: (R.PLANNED, R.RUNNING)},
    "run.planning_failed": {R.PLANNING: (R.CREATED, R.PLANNED, R.RUNNING)},
    "run.started": {R.PLANNED: (R.RUNNING,)},
    "run.waiting": _stay(R.PLANNED),
    "run.paused": {R.RUNNING: (R.PAUSED,), R.AWAITING_APPROVAL: (R.PAUSED,)},
    "run.budget_reached": dict.fromkeys((R.PLANNING, R.RUNNING, R.PAUSED), (R.PAUSED,)),
    "run.budget_set": _stay(*ANY_OPEN),
    "run.resumed": {R.PAUSED: (R.RUNNING, R.AWAITING_APPROVAL, R.PLANNING), R.FAILED: (R.RUNNING,)},
    "run.completed": {R.RUNNING: (R.COMPLETED,)},
    "run.failed": dict.fromkeys((R.PLANNING, R.RUNNING, R.PAUSED), (R.FAILED,)),
    "run.cancel_requested": _stay(*ANY_OPEN),
    "run.cancelled": dict.fromkeys((R.CREATED, R.PLANNING, R.PLANNED, R.RUNNING, R.PAUSED), (R.CANCELLED,)),
    "run.rollback_requested": _UNDOING,
    "run.rolled_back": _UNDOING,
    "run.rollback_failed": _UNDOING,
    "run.reopened": {R.COMPLETED: (R.PAUSED,), R.CANCELLED: (R.PAUSED,)},
    "step.revert_requested": _UNDOING,
    "step.reverted": _UNDOING,
    "step.revert_failed": _UNDOING,
    "envelope.granted": _stay(*ANY_OPEN),
    "envelope.tried": _stay(R.RUNNING, R.PAUSED),
    "envelope.used": _stay(R.RUNNING, R.PAUSED),
    "envelope.revoked": _stay(*ANY_OPEN),
    "envelope.exhausted": _stay(R.RUNNING, R.PAUSED),
    "step.started": _stay(R.RUNNING),
    "step.executing": _stay(R.RUNNING),
    "step.applying": _stay(R.RUNNING, R.PAUSED),
    "approval.kept": _stay(*ANY_OPEN),
    "approval.withdrawn": _stay(*ANY_OPEN),
    "approval.requested": {R.RUNNING: (R.AWAITING_APPROVAL,), R.PAUSED: (R.PAUSED,)},
    "approval.voted": _stay(R.AWAITING_APPROVAL, R.PAUSED),
    "approval.reminded": _stay(R.AWAITING_APPROVAL, R.PAUSED),
    "approval.escalated": _stay(R.AWAITING_APPROVAL, R.PAUSED),
    "approval.decided": {R.AWAITING_APPROVAL: (R.RUNNING,), R.PAUSED: (R.PAUSED,)},
    "approval.expired": {R.AWAITING_APPROVAL: (R.RUNNING,), R.PAUSED: (R.PAUSED,)},
    "approval.cancelled": {R.AWAITING_APPROVAL: (R.RUNNING,), R.PAUSED: (R.PAUSED,)},
}
"""Event type → run state before → possible run states after. Other events leave the run's state alone."""

_REOPENABLE = (S.FAILED, S.REJECTED, S.OUTCOME_UNKNOWN)

STEP: dict[str, dict[S, tuple[S, ...]]] = {
    "step.started": {S.PENDING: (S.PREPARING,)},
    "run.budget_reached": {S.PREPARING: (S.PENDING,)},
    "step.ruled": {S.PREPARING: (S.PREPARING,), S.APPLYING: (S.APPLYING,)},
    "step.drafted": {S.PREPARING: (S.PREPARING,)},
    "step.proposed": {S.PREPARING: (S.PREPARING,)},
    "step.prepared": {S.PREPARING: (S.PREPARING,), S.APPLYING: (S.APPLYING,)},
    "envelope.tried": {S.PREPARING: (S.PREPARING,)},
    "envelope.used": {S.PREPARING: (S.PREPARING,)},
    "approval.kept": {S.PENDING: (S.PENDING,), S.PREPARING: (S.PREPARING,)},
    "approval.requested": {S.PREPARING: (S.AWAITING_APPROVAL,)},
    "approval.voted": {S.AWAITING_APPROVAL: (S.AWAITING_APPROVAL,)},
    "approval.reminded": {S.AWAITING_APPROVAL: (S.AWAITING_APPROVAL,)},
    "approval.escalated": {S.AWAITING_APPROVAL: (S.AWAITING_APPROVAL,)},
    "approval.decided": {S.AWAITING_APPROVAL: (S.APPROVED, S.AWAITING_APPROVAL)},
    "approval.expired": {S.AWAITING_APPROVAL: (S.AWAITING_APPROVAL,)},
    "approval.cancelled": {S.AWAITING_APPROVAL: (S.AWAITING_APPROVAL,)},
    "step.edited": {S.AWAITING_APPROVAL: (S.PREPARING,)},
    "step.executing": {S.APPROVED: (S.PREPARING,)},
    "step.applying": {S.APPROVED: (S.APPLYING,), S.PREPARING: (S.APPLYING,)},
    "step.preview_superseded": {S.PREPARING: (S.PREPARING,), S.APPLYING: (S.PREPARING,)},
    "step.succeeded": {S.PREPARING: (S.SUCCEEDED,), S.APPLYING: (S.SUCCEEDED,)},
    "step.failed": {
        **dict.fromkeys((S.PREPARING, S.APPLYING), (S.FAILED, S.PENDING)),
        S.AWAITING_APPROVAL: (S.FAILED,),
    },
    "step.rejected": {S.AWAITING_APPROVAL: (S.REJECTED,)},
    # PREPARING: of a run that was set aside with it.
    "step.skipped": dict.fromkeys((S.PENDING, S.PREPARING, S.AWAITING_APPROVAL, *_REOPENABLE), (S.SKIPPED,)),
    "step.cancelled": dict.fromkeys(
        (S.PREPARING, S.AWAITING_APPROVAL, S.APPROVED, S.APPLYING), (S.CANCELLED,)
    ),
    "step.outcome_unknown": {S.PREPARING: (S.OUTCOME_UNKNOWN,), S.APPLYING: (S.OUTCOME_UNKNOWN,)},
    "step.retried": dict.fromkeys((*_REOPENABLE, S.SUCCEEDED), (S.PENDING,)),
}
"""Event type → step state before → possible step states after. Other events leave the step's state alone.

`run.cancelled` also makes every PENDING step CANCELLED, and `run.planned` with `replaces_pending` makes every
PENDING step SKIPPED."""


class IllegalTransitionError(ValueError):
    """An event that its state does not allow: a defect, or a journal that was tampered with."""


def run_targets(type_: str, state: R) -> tuple[R, ...]:
    """Possible run states after an event. Raises IllegalTransitionError."""
    row = RUN.get(type_)
    if row is None:
        return (state,)
    if state not in row:
        raise IllegalTransitionError(f"{type_} cannot happen to a run that is {state}")
    return row[state]


def step_targets(type_: str, state: S) -> tuple[S, ...]:
    """Possible step states after an event. Raises IllegalTransitionError."""
    row = STEP.get(type_)
    if row is None:
        return (state,)
    if state not in row:
        raise IllegalTransitionError(f"{type_} cannot happen to a step that is {state}")
    return row[state]
