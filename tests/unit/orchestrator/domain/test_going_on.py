"""How a run goes on: single steps, pauses, failures, budgets, rollbacks."""

from __future__ import annotations

import pytest
from tests.support.driven_run import DrivenRun, drafted, spec
from tests.support.executor_double import error
from tests.support.situations import (
    FREE,
    failed,
    paused,
    paused_awaiting,
    planned,
    unknown,
)

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain.model import (
    MAX_ATTEMPTS,
    Budget,
    OnFailure,
    RejectAction,
    RunState,
    StepState,
)

R = RunState


# -- going on ---------------------------------------------------------------------------------------------------


def test_single_steps_one_at_a_time_to_the_end() -> None:
    driven = DrivenRun([spec("read_file")] * 2)
    for done in (1, 2):
        driven.command("execute_next")
        driven.settle()
        assert driven.run.state is R.PAUSED
        assert driven.run.pause_reason == "single_step"
        assert driven.run.steps_done == done
    driven.command("execute_next")
    assert driven.run.state is R.COMPLETED


def test_the_retries_of_a_step_are_one_single_step() -> None:
    driven = DrivenRun([spec(retries=2), spec()], policy=FREE)
    driven.command("execute_next")
    driven.act(a.Prepare, "failed")
    assert driven.states() == ["PREPARING", "PENDING"]
    driven.act(a.Prepare, "failed")
    driven.settle()
    assert driven.states() == ["SUCCEEDED", "PENDING"]
    assert driven.run.pause_reason == "single_step"


def test_a_step_that_is_tried_again_by_itself_keeps_its_turn() -> None:
    steps = [spec(on_failure=OnFailure.CONTINUE), spec(retries=1), spec()]
    driven = DrivenRun(steps, policy=FREE)
    driven.command("execute_next")
    driven.act(a.Prepare, "failed")
    driven.command("execute_next")
    driven.command("retry_step", 1)
    driven.act(a.Prepare, "failed")
    assert driven.states() == ["PENDING", "PREPARING", "PENDING"]
    driven.settle()
    assert driven.states() == ["PENDING", "SUCCEEDED", "PENDING"]
    driven.command("resume")
    driven.settle()
    assert driven.states() == ["SUCCEEDED"] * 3


def test_a_single_step_with_one_under_way_is_that_one() -> None:
    driven = paused()
    driven.command("execute_next")
    driven.act(a.Propose)
    driven.decide()
    driven.settle()
    assert driven.states() == ["SUCCEEDED", "PENDING"]
    assert driven.run.state is R.PAUSED


@pytest.mark.parametrize(
    ("command", "states"), [("retry_step", ["PREPARING", "PENDING"]), ("skip_step", ["SKIPPED", "PENDING"])]
)
def test_whoever_goes_step_by_step_goes_on_so_after_a_failure(command: str, states: list[str]) -> None:
    driven = DrivenRun([spec(), spec()], policy=FREE)
    driven.command("execute_next")
    driven.act(a.Prepare, "failed")
    driven.command(command, 1)
    assert driven.states() == states
    driven.settle()
    assert driven.states()[1] == "PENDING"
    assert driven.run.pause_reason == "single_step"


def test_pausing_lets_the_step_under_way_reach_its_gate_and_holds_the_approved_one() -> None:
    driven = paused()
    driven.act(a.Propose)
    driven.decide()
    assert driven.run.state is R.PAUSED
    assert driven.states() == ["APPROVED", "PENDING"]
    assert driven.wanted == ()
    driven.command("resume")
    assert driven.states() == ["APPLYING", "PENDING"]


def test_pausing_lets_a_step_without_gate_finish_and_no_other_start() -> None:
    driven = DrivenRun([spec(), spec()], policy=FREE, start=True)
    driven.command("pause")
    driven.settle()
    assert driven.states() == ["SUCCEEDED", "PENDING"]
    assert driven.run.state is R.PAUSED


def test_a_step_that_fails_while_paused_fails_the_run() -> None:
    driven = DrivenRun([spec()], policy=FREE, start=True)
    driven.command("pause")
    driven.act(a.Prepare, "failed")
    assert driven.run.state is R.FAILED
    assert driven.run.pause_reason == ""


@pytest.mark.parametrize("command", ["resume", "execute_next"])
def test_an_unknown_outcome_holds_the_run(command: str) -> None:
    driven = unknown()
    with pytest.raises(InterlockError, match="unknown outcome") as refused:
        driven.command(command)
    assert refused.value.metadata["step"] == "1"
    driven.command("retry_step", 1)
    assert driven.current.attempt == 2


def test_only_the_step_that_stopped_the_run_lets_it_go_on() -> None:
    driven = DrivenRun([spec(on_failure=OnFailure.CONTINUE), spec(), spec()], policy=FREE, start=True)
    driven.act(a.Prepare, "failed")
    driven.act(a.Prepare, "failed")
    assert driven.run.state is R.FAILED
    driven.command("retry_step", 1)
    assert driven.run.state is R.FAILED
    driven.command("retry_step", 2)
    driven.settle()
    assert driven.states() == ["SUCCEEDED"] * 3
    order = [s.recorded.event.step for s in driven.journal if s.recorded.event.type == "step.succeeded"]
    assert order == [1, 2, 3]


def test_another_step_does_not_wake_a_run_that_waits_for_an_unknown_outcome() -> None:
    driven = DrivenRun([spec(on_failure=OnFailure.CONTINUE), spec()], policy=FREE, start=True)
    driven.act(a.Prepare, "failed")
    driven.act(a.Prepare, "unknown")
    driven.command("retry_step", 1)
    assert driven.run.state is R.PAUSED
    driven.command("skip_step", 2)
    assert driven.states() == ["PREPARING", "SKIPPED"]


def test_a_failed_step_that_may_be_passed_over_does_not_stop_the_run() -> None:
    driven = DrivenRun([spec(on_failure=OnFailure.CONTINUE), spec()], policy=FREE, start=True)
    driven.act(a.Prepare, "failed")
    driven.settle()
    assert driven.states() == ["FAILED", "SUCCEEDED"]
    assert driven.run.state is R.COMPLETED


def test_a_step_has_a_last_attempt() -> None:
    driven = DrivenRun([spec()], policy=FREE, start=True)
    for _ in range(MAX_ATTEMPTS - 1):
        driven.act(a.Prepare, "failed")
        driven.command("retry_step", 1)
    driven.act(a.Prepare, "failed")
    with pytest.raises(InterlockError, match="attempts") as refused:
        driven.command("retry_step", 1)
    assert refused.value.reason is Reason.STEP_WRONG_STATE
    driven.command("skip_step", 1)
    assert driven.run.state is R.COMPLETED


def test_skipping_every_step_completes_the_run() -> None:
    driven = planned()
    driven.command("skip_step", 2, "no need")
    driven.command("skip_step", 1)
    driven.command("start")
    assert driven.run.state is R.COMPLETED


# -- budgets ----------------------------------------------------------------------------------------------------


def test_a_run_pauses_before_a_call_beyond_its_budget() -> None:
    driven = DrivenRun([spec("analyze"), spec("analyze"), spec("read_file")], budget=Budget(0, 1), start=True)
    driven.act(a.AskModel)
    assert driven.run.state is R.PAUSED
    assert driven.run.pause_reason == "budget_reached"
    for command in ("resume", "execute_next"):
        with pytest.raises(InterlockError) as refused:
            driven.command(command)
        assert refused.value.reason is Reason.RUN_BUDGET_REACHED
        assert refused.value.metadata["model_calls"] == "1"
    driven.command("skip_step", 2)
    driven.command("resume")
    driven.settle()
    assert driven.states() == ["SUCCEEDED", "SKIPPED", "SUCCEEDED"]


@pytest.mark.parametrize(("price", "state"), [(9, R.RUNNING), (10, R.PAUSED), (None, R.RUNNING)])
def test_money_counts_where_it_is_known(price: int | None, state: RunState) -> None:
    driven = DrivenRun([spec("analyze"), spec("summarize")], budget=Budget(10), start=True)
    action = driven.action(a.AskModel)
    driven.deliver(action, driven.perform(action), price)
    assert driven.run.state is state
    assert driven.run.spent.unpriced == (price is None)
    assert driven.run.spent.cost_micros == price


def test_planning_needs_budget_too() -> None:
    driven = DrivenRun(budget=Budget(0, 1))
    driven.command("plan")
    driven.act(a.AskPlan)
    with pytest.raises(InterlockError) as refused:
        driven.command("plan")
    assert refused.value.reason is Reason.RUN_BUDGET_REACHED


def test_a_draft_is_not_repeated_beyond_the_budget() -> None:
    driven = DrivenRun([drafted()], policy=FREE, budget=Budget(0, 1), start=True)
    driven.act(a.Draft)
    driven.act(a.Prepare)
    driven.executor.drift()
    driven.act(a.Apply, disjoint=False)
    assert driven.run.pause_reason == "budget_reached"
    assert driven.states() == ["PENDING"]
    driven.settle()
    assert driven.executor.kept() == []


# -- rolling back -----------------------------------------------------------------------------------------------


def test_rolling_back_and_going_on() -> None:
    driven = DrivenRun([spec(), spec(), spec()], policy=FREE)
    driven.command("execute_next")
    driven.settle()
    first = driven.executor.head
    driven.command("execute_next")
    driven.settle()
    assert driven.executor.head != first
    driven.command("roll_back", to_step=1, comment="no")
    driven.act(a.Restore)
    assert driven.executor.head == driven.run.head_tree == first
    driven.command("resume")
    driven.settle()
    assert driven.run.state is R.COMPLETED
    assert "workspace.drift_adopted" not in driven.types()


def test_the_tree_after_a_step_is_where_the_workspace_was_when_it_ended() -> None:
    driven = DrivenRun([spec(), spec("read_file")], policy=FREE)
    driven.command("execute_next")
    base = driven.executor.head
    driven.settle()
    driven.command("roll_back", to_step=0)
    driven.settle()
    driven.command("resume")
    driven.act(a.Prepare, "PATH_NOT_FOUND")
    assert driven.run.state is R.FAILED
    driven.command("roll_back", to_step=2)
    assert driven.action(a.Restore).tree == base


def test_a_rollback_that_fails_changes_nothing() -> None:
    driven = failed()
    head = driven.run.head_tree
    driven.command("roll_back", to_step=0)
    action = driven.action(a.Restore)
    driven.deliver(action, error("WORKSPACE_DRIFTED"))
    assert driven.run.head_tree == head
    assert driven.run.rollback is None
    assert driven.deliver(action, ("ok", ("sha256:x", head))) == []


def test_going_back_to_a_step_that_has_not_ended() -> None:
    driven = failed()
    with pytest.raises(InterlockError) as refused:
        driven.command("roll_back", to_step=2)
    assert refused.value.reason is Reason.STEP_WRONG_STATE
    with pytest.raises(InterlockError) as missing:
        driven.command("roll_back", to_step=7)
    assert missing.value.reason is Reason.STEP_NOT_FOUND


def test_nothing_is_forked_while_a_rollback_publishes() -> None:
    driven = paused_awaiting()
    driven.command("roll_back", to_step=0)
    driven.edit(command="other")
    assert [type(x) for x in driven.wanted] == [a.Restore]
    driven.act(a.Restore)
    assert [type(x) for x in driven.wanted] == [a.Propose]


def test_an_approval_from_before_a_rollback_publishes_nothing() -> None:
    driven = DrivenRun([spec("read_file"), spec("edit_file")], start=True)
    driven.act(a.Prepare)
    driven.act(a.Prepare)
    seen = driven.current.approval
    driven.command("pause")
    driven.executor.drift()
    driven.command("roll_back", to_step=1)
    driven.executor.head = "sha256:" + "e" * 64
    driven.decide()
    driven.settle()
    driven.executor.drift()
    driven.command("resume")
    driven.act(a.Apply, disjoint=False)
    driven.act(a.Prepare)
    assert driven.states() == ["SUCCEEDED", "AWAITING_APPROVAL"]
    assert driven.current.approval != seen


def test_rejecting_with_a_new_plan_while_paused_is_refused() -> None:
    driven = paused_awaiting()
    with pytest.raises(InterlockError) as refused:
        driven.decide("reject", action=RejectAction.REPLAN)
    assert refused.value.reason is Reason.RUN_WRONG_STATE
    assert refused.value.metadata["allowed"] == "AWAITING_APPROVAL"
    assert driven.current.state is StepState.AWAITING_APPROVAL
