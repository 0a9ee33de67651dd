"""Decisions that come before their question: kept, bound to a digest, given once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.support.driven_run import DrivenRun, spec
from tests.support.driven_steps import life
from tests.support.executor_double import digest

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.decide_approval import Decision
from interlock.orchestrator.domain.decide_envelope import Grant
from interlock.orchestrator.domain.early import KEPT, MAX_EARLY, decide_or_keep
from interlock.orchestrator.domain.model import (
    Bounds,
    Policy,
    RejectAction,
    RunState,
    Stage,
    StepKind,
    Verdict,
)

OTHER = digest("something else")


def before(policy: Policy | None = None) -> DrivenRun:
    """A run whose command is about to be proposed."""
    return DrivenRun([spec()], policy=policy, start=True)


def coming(driven: DrivenRun) -> str:
    """The digest that the command will ask about."""
    return driven.executor.request(driven.run.steps[0].spec, driven.executor.head)


def ahead(
    driven: DrivenRun, by: str = "bob", verdict: str = "approve", about: str = "", **more: Any
) -> list[e.Event]:
    decision = Decision(Verdict(verdict), about or coming(driven), by, **more)
    return driven.tx(decide_or_keep(driven.run, driven.ctx(by), 1, decision))


def refused(driven: DrivenRun, **fields: Any) -> InterlockError:
    state = driven.run
    with pytest.raises(InterlockError) as caught:
        ahead(driven, **fields)
    assert driven.run == state
    return caught.value


def test_it_is_given_in_the_transaction_that_asks() -> None:
    driven = before()
    ahead(driven, channel="bot", comment="known good", authentication="token:tok-1")
    driven.crash()
    written = driven.act(a.Propose)
    assert [event.type for event in written] == [
        "step.proposed",
        "approval.requested",
        "approval.decided",
        "step.applying",
    ]
    decided = next(event for event in written if isinstance(event, e.ApprovalDecided))
    assert (decided.subject, decided.channel, decided.comment) == ("bob", "bot", "known good")
    assert decided.authentication == "token:tok-1"
    assert driven.run.steps[0].early == ()
    driven.settle()
    assert driven.run.state is RunState.COMPLETED


def test_another_digest_asks_as_ever() -> None:
    driven = before()
    ahead(driven, about=OTHER)
    driven.settle()
    assert driven.run.state is RunState.AWAITING_APPROVAL
    assert "approval.decided" not in life(driven)


def test_the_workspace_that_moved_makes_it_another_question() -> None:
    driven = before()
    ahead(driven)
    driven.executor.drift()
    driven.settle()
    assert driven.run.state is RunState.AWAITING_APPROVAL


def test_after_its_time_it_is_not_given() -> None:
    driven = before()
    ahead(driven)
    driven.now += KEPT + timedelta(seconds=1)
    driven.settle()
    assert driven.run.state is RunState.AWAITING_APPROVAL


@pytest.mark.parametrize(
    ("action", "state"), [(RejectAction.FAIL_RUN, RunState.FAILED), (RejectAction.REPLAN, RunState.PLANNING)]
)
def test_a_rejection_is_kept_with_what_follows_from_it(action: RejectAction, state: RunState) -> None:
    driven = before()
    ahead(driven, verdict="reject", action=action, comment="not here")
    driven.act(a.Propose)
    assert driven.run.state is state
    assert driven.states() == ["REJECTED"]


def test_skipping_ahead() -> None:
    driven = before()
    ahead(driven, verdict="skip")
    driven.settle()
    assert driven.states() == ["SKIPPED"]


def test_votes_are_kept_and_the_rest_is_asked() -> None:
    driven = before(Policy(stages=(Stage("", 2, ("ada", "bob", "eve")),)))
    ahead(driven, by="ada")
    driven.settle()
    assert driven.run.state is RunState.AWAITING_APPROVAL
    assert [vote.subject for vote in driven.current.votes] == ["ada"]
    driven.decide(by="eve")
    assert driven.run.state is RunState.RUNNING


def test_several_are_given_in_their_order_and_who_may_not_is_passed_over() -> None:
    driven = before(Policy(stages=(Stage("", 2, ("ada", "bob", "eve")),), separate_requester=True))
    for by in ("mallory", "ann", "ada", "bob", "eve"):
        ahead(driven, by=by)
    driven.act(a.Propose)
    assert driven.run.state is RunState.RUNNING
    assert [vote.subject for vote in driven.run.steps[0].votes] == ["ada", "bob"]
    assert [each.subject for each in driven.run.steps[0].early] == ["mallory", "ann", "eve"]


def test_when_the_question_is_open_it_is_the_decision() -> None:
    driven = before()
    driven.settle()
    error = refused(driven, about=OTHER)
    assert error.reason is Reason.APPROVAL_DIGEST_MISMATCH
    assert driven.current.approval is not None
    written = ahead(driven, about=driven.current.approval.digest)
    assert written[0].type == "approval.decided"
    assert driven.run.state is RunState.RUNNING


def test_what_cannot_be_kept() -> None:
    driven = before()
    assert (
        refused(driven, verdict="edit", kind=StepKind.RUN_COMMAND, input={"command": "x"}).field == "decision"
    )
    assert refused(driven, envelope=Grant(Bounds(("**",)))).reason is Reason.INVALID_ARGUMENT
    ahead(driven)
    again = refused(driven)
    assert (again.reason, again.metadata["verdict"]) == (Reason.APPROVAL_ALREADY_VOTED, "approve")
    assert f"kept until {again.metadata['until']}" in again.fix
    for number in range(MAX_EARLY - 1):
        ahead(driven, about=digest(number))
    assert refused(driven, about=OTHER).reason is Reason.RESOURCE_EXHAUSTED
    driven.now += KEPT + timedelta(seconds=1)
    ahead(driven, about=OTHER)
    driven.settle()
    driven.decide("reject")
    assert refused(driven).reason is Reason.RUN_WRONG_STATE


def test_there_is_nothing_to_decide_ahead_about_a_step_that_is_under_way() -> None:
    driven = before()
    driven.settle()
    driven.decide()
    assert refused(driven).reason is Reason.STEP_WRONG_STATE
    with pytest.raises(InterlockError) as caught:
        decide_or_keep(driven.run, driven.ctx(), 7, Decision(Verdict.APPROVE, OTHER, "bob"))
    assert caught.value.reason is Reason.STEP_NOT_FOUND


def test_it_does_not_outlive_a_cancelled_run() -> None:
    driven = before()
    ahead(driven)
    action = driven.action(a.Propose)
    result = driven.perform(action)
    driven.command("cancel")
    driven.deliver(action, result)
    assert driven.run.state is RunState.CANCELLED
    assert "approval.decided" not in life(driven)
