"""Every command in every state of a run: allowed, or refused with the states it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.support.driven_run import DrivenRun, drafted, spec
from tests.support.executor_double import error

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import decide_run
from interlock.orchestrator.domain.model import (
    MAX_ATTEMPTS,
    MAX_STEPS,
    Budget,
    Gate,
    OnFailure,
    Policy,
    RejectAction,
    RunState,
    StepState,
)

FREE = Policy(edit_file_gate=Gate.NONE, run_command_gate=Gate.NONE)


def created() -> DrivenRun:
    return DrivenRun()


def planning() -> DrivenRun:
    driven = DrivenRun()
    driven.command("plan")
    return driven


def planned() -> DrivenRun:
    return DrivenRun([spec(), spec()])


def running() -> DrivenRun:
    return DrivenRun([spec(), spec()], start=True)


def awaiting() -> DrivenRun:
    driven = running()
    driven.act(a.Propose)
    return driven


def paused() -> DrivenRun:
    driven = running()
    driven.command("pause")
    return driven


def paused_awaiting() -> DrivenRun:
    driven = awaiting()
    driven.command("pause")
    return driven


def completed() -> DrivenRun:
    driven = DrivenRun([spec("read_file")], start=True)
    driven.settle()
    return driven


def failed() -> DrivenRun:
    driven = DrivenRun([spec(), spec()], policy=FREE, start=True)
    driven.act(a.Prepare, "failed")
    return driven


def cancelled() -> DrivenRun:
    driven = awaiting()
    driven.command("cancel")
    return driven


def cancelling() -> DrivenRun:
    driven = DrivenRun([spec(), spec()], policy=FREE, start=True)
    driven.command("cancel")
    return driven


def unknown() -> DrivenRun:
    driven = DrivenRun([spec(), spec()], policy=FREE, start=True)
    driven.act(a.Prepare, "unknown")
    return driven


def rolling_back() -> DrivenRun:
    driven = failed()
    driven.command("roll_back", to_step=0)
    return driven


SITUATIONS: dict[str, Callable[[], DrivenRun]] = {
    f.__name__: f
    for f in (
        created,
        planning,
        planned,
        running,
        awaiting,
        paused,
        paused_awaiting,
        completed,
        failed,
        cancelled,
        cancelling,
        unknown,
        rolling_back,
    )
}
COMMANDS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "add_steps": (([spec()],), {}),
    "plan": ((), {}),
    "start": ((), {}),
    "execute_next": ((), {}),
    "pause": ((), {}),
    "resume": ((), {}),
    "cancel": ((), {}),
    "retry_step": ((1,), {}),
    "skip_step": ((1,), {}),
    "roll_back": ((), {"to_step": 0}),
}
WRONG_RUN, WRONG_STEP = Reason.RUN_WRONG_STATE, Reason.STEP_WRONG_STATE
EMPTY, NO_STEP, NO_TREE = Reason.RUN_EMPTY_PLAN, Reason.STEP_NOT_FOUND, Reason.TREE_NOT_FOUND
R = RunState
OPEN = "AWAITING_APPROVAL,CREATED,PAUSED,PLANNED,PLANNING,RUNNING"

# situation → command → the run's state afterwards, or why it is refused
TABLE: dict[str, dict[str, RunState | Reason]] = {
    "created": {
        "add_steps": R.PLANNED,
        "plan": R.PLANNING,
        "start": EMPTY,
        "execute_next": EMPTY,
        "cancel": R.CANCELLED,
    },
    "planning": {"cancel": R.CANCELLED},
    "planned": {
        "add_steps": R.PLANNED,
        "plan": R.PLANNING,
        "start": R.RUNNING,
        "execute_next": R.RUNNING,
        "cancel": R.CANCELLED,
        "retry_step": WRONG_STEP,
        "skip_step": R.PLANNED,
    },
    "running": {
        "add_steps": R.RUNNING,
        "pause": R.PAUSED,
        "cancel": R.CANCELLED,
        "retry_step": WRONG_STEP,
        "skip_step": WRONG_STEP,
    },
    "awaiting": {
        "add_steps": R.AWAITING_APPROVAL,
        "pause": R.PAUSED,
        "cancel": R.CANCELLED,
        "retry_step": WRONG_STEP,
        "skip_step": R.RUNNING,
    },
    "paused": {
        "add_steps": R.PAUSED,
        "execute_next": R.RUNNING,
        "resume": R.RUNNING,
        "cancel": R.CANCELLED,
        "retry_step": WRONG_STEP,
        "skip_step": WRONG_STEP,
        "roll_back": WRONG_STEP,
    },
    "paused_awaiting": {
        "add_steps": R.PAUSED,
        "execute_next": R.AWAITING_APPROVAL,
        "resume": R.AWAITING_APPROVAL,
        "cancel": R.CANCELLED,
        "retry_step": WRONG_STEP,
        "skip_step": R.PAUSED,
        "roll_back": R.PAUSED,
    },
    "completed": {"roll_back": R.COMPLETED},
    "failed": {"retry_step": R.RUNNING, "skip_step": R.RUNNING, "roll_back": R.FAILED},
    "cancelled": {"roll_back": R.CANCELLED},
    "cancelling": {"cancel": R.RUNNING},
    "unknown": {
        "add_steps": R.PAUSED,
        "cancel": R.CANCELLED,
        "retry_step": R.RUNNING,
        "skip_step": R.RUNNING,
        "roll_back": NO_TREE,
    },
    "rolling_back": {},
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_command_in_state(situation: str, command: str) -> None:
    driven = SITUATIONS[situation]()
    args, kwargs = COMMANDS[command]
    expected = TABLE[situation].get(command, WRONG_RUN)
    before = driven.run
    if isinstance(expected, RunState):
        driven.command(command, *args, **kwargs)
        assert driven.run.state is expected
        return
    with pytest.raises(InterlockError) as refused:
        driven.command(command, *args, **kwargs)
    assert refused.value.reason is expected
    assert driven.run is before
    if expected in (WRONG_RUN, WRONG_STEP):
        _says_what_would_do(refused.value, before, expected)


def _says_what_would_do(refused: InterlockError, run: Any, reason: Reason) -> None:
    current = run.state if reason is WRONG_RUN else run.steps[0].state
    said = refused.metadata
    assert said["current"] == current.value
    assert said["run_id"] == run.run_id
    allowed = said["allowed"].split(",")
    assert allowed == sorted(allowed)
    assert current.value not in allowed or "busy" in said


def test_every_situation_is_in_the_table_and_every_state_has_one() -> None:
    assert TABLE.keys() == SITUATIONS.keys()
    assert {make().run.state for make in SITUATIONS.values()} == set(RunState)


@pytest.mark.parametrize("command", ["retry_step", "skip_step"])
@pytest.mark.parametrize("number", [0, 3, -1, 10_001])
def test_a_step_that_does_not_exist(command: str, number: int) -> None:
    with pytest.raises(InterlockError) as refused:
        failed().command(command, number)
    assert refused.value.reason is NO_STEP
    assert refused.value.metadata["step"] == str(number)


def test_cancelling_can_be_asked_twice_and_says_so_to_others() -> None:
    driven = cancelling()
    assert driven.command("cancel") == []
    with pytest.raises(InterlockError, match="being cancelled") as refused:
        driven.command("add_steps", [spec()])
    assert refused.value.metadata["busy"] == "being cancelled"


def test_a_rollback_under_way_holds_everything_but_cancelling() -> None:
    driven = paused_awaiting()
    driven.command("roll_back", to_step=0)
    with pytest.raises(InterlockError, match="being rolled back"):
        driven.command("resume")
    driven.command("cancel")
    assert driven.run.state is R.CANCELLED
    driven.settle()
    assert driven.run.rollback is None
    assert driven.wanted == ()


# -- creating, adding, planning ---------------------------------------------------------------------------------


def test_a_run_of_most_steps_and_one_more() -> None:
    driven = DrivenRun([spec("read_file")] * MAX_STEPS)
    assert driven.types().count("run.steps_added") == MAX_STEPS // decide_run.EVENT_STEPS
    with pytest.raises(InterlockError) as refused:
        driven.command("add_steps", [spec()])
    assert refused.value.reason is Reason.RUN_TOO_MANY_STEPS
    assert refused.value.field == "steps"


def test_starting_what_has_no_steps() -> None:
    with pytest.raises(InterlockError) as refused:
        DrivenRun(start=True)
    assert refused.value.reason is EMPTY


def test_adding_nothing_is_refused() -> None:
    with pytest.raises(InterlockError) as refused:
        planned().command("add_steps", [])
    assert refused.value.reason is EMPTY


@pytest.mark.parametrize("budget", [Budget(2**53), Budget(-1), Budget(0, 2**60)])
def test_a_budget_that_no_event_can_hold(budget: Budget) -> None:
    with pytest.raises(InterlockError) as refused:
        DrivenRun([spec()], budget=budget)
    assert refused.value.reason is Reason.INVALID_ARGUMENT
    assert refused.value.field.startswith("budget.max_")


def test_a_weaker_gate_is_refused_by_the_field_at_fault() -> None:
    with pytest.raises(InterlockError) as refused:
        DrivenRun([spec(), spec("run_command", "none")])
    assert refused.value.field == "steps[1].gate"
    DrivenRun([spec("run_command", "none")], policy=Policy(steps_may_weaken=True))


def test_planning_adds_steps_and_records_what_it_cost() -> None:
    driven = planning()
    driven.act(a.AskPlan)
    assert driven.run.state is R.PLANNED
    assert driven.states() == ["PENDING", "PENDING"]
    assert driven.run.spent.calls == 1
    assert driven.run.spent.cost_micros == 5


@pytest.mark.parametrize("before", [created, planned])
def test_planning_that_fails_leaves_the_run_as_it_was(before: Callable[[], DrivenRun]) -> None:
    driven = before()
    state = driven.run.state
    driven.command("plan", additional_context="c", max_steps=3)
    action = driven.action(a.AskPlan)
    assert (action.planning.additional_context, action.planning.max_steps) == ("c", 3)
    driven.deliver(action, error("MODEL_UNAVAILABLE"))
    assert driven.run.state is state
    assert driven.run.spent.calls == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([], "RUN_EMPTY_PLAN"),
        ([spec()] * (MAX_STEPS + 1), "RUN_TOO_MANY_STEPS"),
        ([spec("run_command", "none")], "INVALID_ARGUMENT"),
    ],
)
def test_a_plan_that_cannot_be_used_is_a_planning_failure(answer: list[Any], reason: str) -> None:
    driven = planning()
    events = driven.deliver(driven.action(a.AskPlan), ("ok", answer))
    assert [event.type for event in events] == ["model.called", "run.planning_failed"]
    assert events[-1].failure.reason == reason  # type: ignore[attr-defined]
    assert driven.run.state is R.CREATED


def test_the_answer_to_an_earlier_question_is_stale() -> None:
    driven = planning()
    first = driven.action(a.AskPlan)
    driven.deliver(first, error("MODEL_TIMEOUT"))
    driven.command("plan")
    assert driven.action(a.AskPlan) != first
    assert [x.type for x in driven.deliver(first, ("ok", [spec()]))] == ["model.called"]
    assert [x.type for x in driven.deliver(first, error("MODEL_TIMEOUT"))] == ["model.called"]
    assert driven.run.state is R.PLANNING


def test_a_plan_that_comes_after_the_run_was_cancelled_leaves_only_its_cost() -> None:
    driven = planning()
    action = driven.action(a.AskPlan)
    driven.command("cancel")
    assert driven.run.state is R.CANCELLED
    driven.deliver(action, ("ok", [spec()]))
    assert driven.run.steps_done == 0
    assert driven.run.spent.calls == 1


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
    assert refused.value.reason is WRONG_STEP
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
    assert refused.value.reason is WRONG_STEP
    with pytest.raises(InterlockError) as missing:
        driven.command("roll_back", to_step=7)
    assert missing.value.reason is NO_STEP


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
    assert refused.value.reason is WRONG_RUN
    assert refused.value.metadata["allowed"] == "AWAITING_APPROVAL"
    assert driven.current.state is StepState.AWAITING_APPROVAL
