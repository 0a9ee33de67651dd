"""What people decide about a step that waits, or do not decide in time."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.driven_run import DrivenRun, drafted, spec
from tests.support.driven_steps import one
from tests.support.executor_double import digest, error

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import decide_approval
from interlock.orchestrator.domain.model import (
    MAX_ATTEMPTS,
    Budget,
    Gate,
    OnFailure,
    Policy,
    RejectAction,
    RunState,
)

# -- approvals --------------------------------------------------------------------------------------------------


def decision(digest_seen: str, verdict: str = "approve") -> decide_approval.Decision:
    return decide_approval.Decision(decide_approval.Verdict(verdict), digest_seen, "bob")


def test_only_what_was_seen_can_be_decided() -> None:
    driven = one("effect")
    driven.settle()
    with pytest.raises(InterlockError) as refused:
        driven.decide(digest=digest("something else"))
    assert refused.value.reason is Reason.APPROVAL_DIGEST_MISMATCH
    assert driven.current.approval is not None
    assert refused.value.metadata["digest"] == driven.current.approval.digest


@pytest.mark.parametrize("verdict", ["approve", "reject", "skip", "edit"])
def test_the_first_decision_wins(verdict: str) -> None:
    driven = DrivenRun([spec(), spec()], start=True)
    driven.settle()
    approval = driven.current.approval
    assert approval is not None
    if verdict == "edit":
        driven.edit(command="other")
    else:
        driven.decide(verdict)
    with pytest.raises(InterlockError) as refused:
        decide_approval.decide(driven.run, driven.ctx(), approval.approval_id, decision(approval.digest))
    assert refused.value.reason is Reason.APPROVAL_ALREADY_DECIDED


@pytest.mark.parametrize(
    ("action", "run_state", "states"),
    [
        (RejectAction.FAIL_RUN, RunState.FAILED, ["REJECTED", "PENDING"]),
        (RejectAction.SKIP_STEP, RunState.RUNNING, ["REJECTED", "PREPARING"]),
        (RejectAction.REPLAN, RunState.PLANNING, ["REJECTED", "PENDING"]),
    ],
)
def test_rejecting(action: RejectAction, run_state: RunState, states: list[str]) -> None:
    driven = DrivenRun([spec(), spec()], start=True)
    driven.settle()
    driven.decide("reject", action=action, comment="no")
    assert driven.run.state is run_state
    assert driven.states() == states
    failure = driven.run.steps[0].failure
    assert failure is not None
    assert "no" in failure.message


def test_a_new_plan_replaces_the_rest() -> None:
    driven = DrivenRun([spec(), spec()], start=True)
    driven.settle()
    driven.decide("reject", action=RejectAction.REPLAN, comment="not this")
    assert driven.action(a.AskPlan).planning.feedback == "not this"
    driven.act(a.AskPlan)
    assert driven.states() == ["REJECTED", "SKIPPED", "PREPARING", "PENDING"]


@pytest.mark.parametrize("result", [error("MODEL_UNAVAILABLE"), ("ok", [])])
def test_a_new_plan_that_fails_or_is_empty_fails_the_run_and_the_step_can_still_be_amended(
    result: Any,
) -> None:
    driven = DrivenRun([spec(), spec()], start=True)
    driven.settle()
    driven.decide("reject", action=RejectAction.REPLAN)
    driven.deliver(driven.action(a.AskPlan), result)
    assert driven.run.state is RunState.FAILED
    assert driven.states() == ["REJECTED", "PENDING"]
    driven.command("skip_step", 1)
    assert driven.states() == ["SKIPPED", "PREPARING"]


def test_a_new_plan_needs_budget() -> None:
    driven = DrivenRun([drafted()], budget=Budget(0, 1), start=True)
    driven.act(a.Draft)
    driven.act(a.Prepare)
    with pytest.raises(InterlockError) as refused:
        driven.decide("reject", action=RejectAction.REPLAN)
    assert refused.value.reason is Reason.RUN_BUDGET_REACHED
    with pytest.raises(InterlockError) as again:
        driven.edit(path="a.txt", instruction="other")
    assert again.value.reason is Reason.RUN_BUDGET_REACHED
    driven.edit(path="a.txt", new_content="mine")
    driven.act(a.Prepare)
    driven.decide()
    driven.settle()
    assert driven.run.state is RunState.COMPLETED


@pytest.mark.parametrize("gate", ["command", "effect", "both"])
def test_an_edit_asks_again_with_a_new_digest(gate: str) -> None:
    driven = one(gate)
    driven.settle()
    before = driven.current.approval
    driven.edit(command="other")
    driven.settle()
    assert driven.current.spec.input == {"command": "other"}
    assert driven.current.approval is not None
    assert before is not None
    assert driven.current.approval.digest != before.digest
    driven.decide()
    driven.settle()
    if gate == "both":
        driven.decide()
        driven.settle()
    assert driven.run.state is RunState.COMPLETED
    assert driven.executor.kept() == []


def test_an_edit_that_adds_network_is_asked_about_before_it_runs() -> None:
    driven = one("effect")
    driven.settle()
    driven.edit(command="curl", network=["h:1"])
    assert driven.current.gate is Gate.COMMAND
    assert driven.action(a.Propose).attempt == 2


def test_an_edit_of_another_kind_or_without_input() -> None:
    driven = one("effect")
    driven.settle()
    for fields in ({"kind": None, "input": None}, {"kind": spec("edit_file").kind, "input": {"path": "x"}}):
        with pytest.raises(InterlockError) as refused:
            driven.decide("edit", **fields)
        assert refused.value.field == "decision.edit.input"


def test_edits_come_to_an_end() -> None:
    driven = one("command")
    for n in range(MAX_ATTEMPTS - 1):
        driven.act(a.Propose)
        driven.edit(command=str(n))
    driven.act(a.Propose)
    with pytest.raises(InterlockError) as refused:
        driven.edit(command="one more")
    assert refused.value.reason is Reason.STEP_WRONG_STATE


def expiring() -> DrivenRun:
    driven = one("effect", Policy(steps_may_weaken=True, approval_timeout_us=1_000_000))
    driven.settle()
    return driven


def test_nobody_decides_in_time() -> None:
    driven = expiring()
    timer = driven.action(a.Due)
    assert driven.deliver(timer, ("ok", "")) == []
    driven.now += driven.now.resolution * 1_000_000
    with pytest.raises(InterlockError) as refused:
        driven.decide()
    assert refused.value.reason is Reason.APPROVAL_EXPIRED
    driven.deliver(timer, ("ok", ""))
    assert driven.states() == ["FAILED"]
    assert driven.run.failure is not None
    assert driven.run.failure.reason == "APPROVAL_EXPIRED"
    driven.command("retry_step", 1)
    driven.settle()
    driven.decide()
    driven.settle()
    assert driven.run.state is RunState.COMPLETED
    assert driven.executor.kept() == []


@pytest.mark.parametrize("first", ["approve", "edit", "cancel"])
def test_a_timer_that_comes_too_late_changes_nothing(first: str) -> None:
    driven = expiring()
    timer = driven.action(a.Due)
    if first == "cancel":
        driven.command("cancel")
    elif first == "edit":
        driven.edit(command="other")
    else:
        driven.decide()
    driven.now += driven.now.resolution * 2_000_000
    assert driven.deliver(timer, ("ok", "")) == []


def test_an_expired_approval_never_counts_as_yes_even_without_retries_left() -> None:
    driven = one("effect", Policy(steps_may_weaken=True, approval_timeout_us=1), retries=5)
    driven.settle()
    driven.act(a.Due)
    assert driven.states() == ["FAILED"]


def test_an_expired_approval_of_a_step_that_may_fail_lets_the_run_go_on() -> None:
    policy = Policy(steps_may_weaken=True, approval_timeout_us=1)
    driven = DrivenRun([spec(on_failure=OnFailure.CONTINUE), spec("read_file")], policy=policy, start=True)
    driven.settle()
    driven.act(a.Due)
    driven.settle()
    assert driven.run.state is RunState.COMPLETED


def test_skipping_what_waits_withdraws_the_question_and_throws_the_preview_away() -> None:
    driven = one("effect")
    driven.settle()
    driven.command("skip_step", 1)
    assert "approval.cancelled" in driven.types()
    driven.settle()
    assert driven.executor.kept() == []
    assert driven.run.state is RunState.COMPLETED
