"""Every command in every state of a run: allowed, or refused with the states it needs. And planning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.support.driven_run import DrivenRun, spec
from tests.support.executor_double import error
from tests.support.situations import (
    SITUATIONS,
    cancelling,
    created,
    failed,
    paused_awaiting,
    planned,
    planning,
)

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import decide_run
from interlock.orchestrator.domain.model import (
    MAX_STEPS,
    Budget,
    Policy,
    RunState,
)

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
