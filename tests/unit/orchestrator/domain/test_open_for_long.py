"""Approvals that nobody decides about: reminders, others who may decide too, and their end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.support.driven_run import DrivenRun, spec
from tests.support.driven_steps import life

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain.chain import parse_time, time_text
from interlock.orchestrator.domain.model import Group, Policy, RunState, Stage, StepState
from interlock.orchestrator.domain.timers import MAX_REMINDERS

HOUR = 3_600_000_000
REMINDS = Policy(remind_us=HOUR)
WIDENS = Policy(
    stages=(Stage("team", 1, ("ada",)),),
    groups=(Group("leads", ("lea", "leo")),),
    escalate_us=2 * HOUR,
    escalate_to=("group:leads",),
)


def waiting(policy: Policy) -> DrivenRun:
    driven = DrivenRun([spec()], policy=policy, start=True)
    driven.settle()
    assert driven.current.state is StepState.AWAITING_APPROVAL
    return driven


def ring(driven: DrivenRun) -> list[str]:
    """The next timer goes off, at its time; returns what it wrote."""
    timer = driven.action(a.Due)
    driven.now = parse_time(timer.at)
    return [event.type for event in driven.act(a.Due)]


def refused(driven: DrivenRun, by: str) -> Reason:
    with pytest.raises(InterlockError) as caught:
        driven.decide(by=by)
    return caught.value.reason


def test_without_any_of_it_there_is_no_timer() -> None:
    driven = waiting(Policy())
    assert not [x for x in driven.wanted if isinstance(x, a.Due)]


def test_reminders_come_at_intervals_and_end() -> None:
    driven = waiting(REMINDS)
    asked = driven.current.asked_at
    assert asked is not None
    assert driven.action(a.Due).at == time_text(asked + timedelta(hours=1))
    for number in range(1, MAX_REMINDERS + 1):
        assert ring(driven) == ["approval.reminded"]
        assert driven.current.reminders == number
    assert not [x for x in driven.wanted if isinstance(x, a.Due)]
    driven.decide()
    assert driven.run.state is RunState.RUNNING


def test_reminders_that_nobody_was_there_for_are_one() -> None:
    driven = waiting(REMINDS)
    driven.now += timedelta(hours=9, minutes=30)
    driven.crash()
    assert [event.type for event in driven.act(a.Due)] == ["approval.reminded"]
    assert driven.action(a.Due).at == time_text(driven.now + timedelta(hours=1))


def test_a_timer_that_rings_early_or_twice_does_nothing() -> None:
    driven = waiting(REMINDS)
    timer = driven.action(a.Due)
    assert driven.act(a.Due) == []
    assert ring(driven) == ["approval.reminded"]
    assert driven.deliver(timer, ("ok", None)) == []
    driven.decide()
    assert driven.deliver(timer, ("ok", None)) == []


def test_a_new_question_starts_its_own_times() -> None:
    driven = waiting(REMINDS)
    ring(driven)
    driven.edit(command="make all")
    driven.settle()
    assert (driven.current.reminders, driven.current.reminded_at) == (0, None)
    assert ring(driven) == ["approval.reminded"]


def test_others_may_decide_after_a_while_and_not_before() -> None:
    driven = waiting(WIDENS)
    assert refused(driven, "lea") is Reason.PERMISSION_DENIED
    assert ring(driven) == ["approval.escalated"]
    assert driven.current.approval is not None
    assert driven.current.approval.escalate_to == ("lea", "leo")
    assert refused(driven, "mallory") is Reason.PERMISSION_DENIED
    driven.decide(by="leo")
    assert driven.run.state is RunState.RUNNING


@pytest.mark.parametrize("who", ["ada", "lea"])
def test_after_it_anyone_of_them_may_refuse(who: str) -> None:
    driven = waiting(WIDENS)
    ring(driven)
    driven.decide("reject", by=who)
    assert driven.run.state is RunState.FAILED


def test_quorums_stay_when_others_may_decide_too() -> None:
    policy = Policy(stages=(Stage("team", 2, ("ada", "bob")),), escalate_us=HOUR, escalate_to=("lea",))
    driven = waiting(policy)
    ring(driven)
    driven.decide(by="lea")
    assert driven.run.state is RunState.AWAITING_APPROVAL
    assert refused(driven, "lea") is Reason.APPROVAL_ALREADY_VOTED
    driven.decide(by="bob")
    assert driven.run.state is RunState.RUNNING


def test_whoever_it_goes_to_is_kept_apart_from_who_asked() -> None:
    driven = waiting(
        Policy(
            stages=(Stage("", 1, ("ada",)),),
            separate_requester=True,
            escalate_us=HOUR,
            escalate_to=("ann", "lea"),
        )
    )
    ring(driven)
    assert refused(driven, "ann") is Reason.PERMISSION_DENIED
    driven.decide(by="lea")
    assert driven.run.state is RunState.RUNNING


def test_all_three_in_order_and_the_end_is_never_yes() -> None:
    driven = waiting(
        Policy(
            stages=(Stage("", 1, ("ada",)),),
            approval_timeout_us=4 * HOUR,
            remind_us=HOUR + 1,
            escalate_us=2 * HOUR,
            escalate_to=("lea",),
        )
    )
    told: list[str] = []
    while driven.run.state is RunState.AWAITING_APPROVAL:
        told += ring(driven)
        driven.crash()
    assert told[:5] == [
        "approval.reminded",
        "approval.escalated",
        "approval.reminded",
        "approval.reminded",
        "approval.expired",
    ]
    assert driven.run.state is RunState.FAILED
    assert driven.states() == ["FAILED"]
    assert "approval.decided" not in life(driven)


def test_what_is_due_while_the_run_is_paused_happens_all_the_same() -> None:
    driven = waiting(WIDENS)
    driven.command("pause")
    assert ring(driven) == ["approval.escalated"]
    driven.decide(by="lea")
    assert driven.states() == ["APPROVED"] or driven.states() == ["APPLYING"]


@pytest.mark.parametrize(
    "policy",
    [
        Policy(escalate_us=HOUR),
        Policy(escalate_to=("lea",)),
        Policy(escalate_us=HOUR, escalate_to=("group:none",)),
    ],
)
def test_half_of_it_is_refused(policy: Policy) -> None:
    with pytest.raises(InterlockError) as caught:
        DrivenRun([spec()], policy=policy)
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, "policy.escalate_to")
