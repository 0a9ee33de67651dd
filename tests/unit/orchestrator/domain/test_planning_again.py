"""Planning again on request, and runs whose steps the model decides a few at a time."""

from __future__ import annotations

import pytest
from tests.support.driven_run import DrivenRun, spec
from tests.support.executor_double import error
from tests.support.situations import FREE

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain.model import Budget, OnFailure, RunState

R = RunState


def refused(driven: DrivenRun, name: str, *args: object, **fields: object) -> Reason:
    before = driven.run
    with pytest.raises(InterlockError) as caught:
        driven.command(name, *args, **fields)
    assert driven.run is before
    return caught.value.reason


def failed() -> DrivenRun:
    """Its second step has failed, its third has not run."""
    driven = DrivenRun([spec("read_file"), spec(), spec("read_file")], policy=FREE, start=True)
    driven.act(a.Prepare)
    driven.act(a.Prepare, "failed")
    assert driven.run.state is R.FAILED
    return driven


def test_a_failed_run_gets_new_steps_waits_to_be_looked_at_and_goes_on() -> None:
    driven = failed()
    driven.command("replan")
    assert driven.run.planning is not None
    assert driven.run.planning.feedback == "step-2 ended with COMMAND_FAILED; its result says more."
    driven.act(a.AskPlan)
    assert (driven.run.state, driven.run.pause_reason) == (R.PAUSED, "planned_again")
    assert driven.states() == ["SUCCEEDED", "FAILED", "SKIPPED", "PENDING", "PENDING"]
    driven.command("resume")
    driven.settle()
    assert driven.run.state is R.COMPLETED
    assert driven.states() == ["SUCCEEDED", "FAILED", "SKIPPED", "SUCCEEDED", "SUCCEEDED"]


def test_a_planned_run_stays_planned_and_can_be_planned_again_and_again() -> None:
    driven = DrivenRun([spec()])
    for count in (1, 2):
        driven.command("replan", comment="simpler", max_steps=3)
        assert driven.run.planning is not None
        assert (driven.run.planning.feedback, driven.run.planning.max_steps) == ("simpler", 3)
        driven.act(a.AskPlan)
        assert driven.run.state is R.PLANNED
        assert driven.states().count("PENDING") == 2
        assert driven.states().count("SKIPPED") == 2 * count - 1


def test_an_answer_that_nothing_is_left_to_do_drops_the_rest() -> None:
    driven = failed()
    driven.command("replan")
    driven.deliver(driven.wanted[0], ("ok", []))
    assert (driven.run.state, driven.states()) == (R.PAUSED, ["SUCCEEDED", "FAILED", "SKIPPED"])
    driven.command("resume")
    assert driven.run.state is R.COMPLETED


def test_without_a_plan_the_run_waits_and_its_failure_still_counts() -> None:
    driven = failed()
    driven.command("replan")
    driven.deliver(driven.wanted[0], error(Reason.MODEL_UNAVAILABLE))
    assert (driven.run.state, driven.run.pause_reason) == (R.PAUSED, "planning_failed")
    assert driven.states() == ["SUCCEEDED", "FAILED", "PENDING"]
    assert refused(driven, "resume") is Reason.RUN_WRONG_STATE
    fresh = DrivenRun([spec()])
    fresh.command("replan")
    fresh.deliver(fresh.wanted[0], error(Reason.MODEL_UNAVAILABLE))
    assert (fresh.run.state, fresh.states()) == (R.PLANNED, ["PENDING"])


def test_it_is_refused_while_a_step_is_under_way_or_the_run_is_over() -> None:
    driven = DrivenRun([spec("read_file")], start=True)
    assert refused(driven, "replan") is Reason.RUN_WRONG_STATE
    driven.command("pause")
    assert refused(driven, "replan") is Reason.RUN_WRONG_STATE
    driven.settle()
    assert driven.run.state is R.PAUSED
    driven.command("replan")
    spent = DrivenRun([spec("analyze"), spec()], budget=Budget(0, 1), start=True)
    spent.settle()
    assert refused(spent, "replan") is Reason.RUN_WRONG_STATE


def test_the_model_decides_from_the_results_until_it_says_that_it_is_done() -> None:
    driven = DrivenRun(steps_at_a_time=1, policy=FREE)
    driven.command("plan")
    assert driven.run.planning is not None
    assert (driven.run.planning.going_on, driven.run.planning.max_steps) == (True, 1)
    driven.deliver(driven.wanted[0], ("ok", [spec("read_file")]))
    assert driven.run.state is R.PLANNED
    driven.command("start")
    driven.act(a.Prepare)
    (asked,) = driven.wanted
    assert isinstance(asked, a.AskPlan)
    driven.deliver(asked, ("ok", [spec(on_failure=OnFailure.CONTINUE)]))
    driven.act(a.Prepare, "failed")
    assert driven.states() == ["SUCCEEDED", "FAILED"]
    (asked,) = driven.wanted
    driven.deliver(asked, ("ok", []))
    assert driven.run.state is R.COMPLETED


def test_a_step_limit_and_the_budget_hold_it() -> None:
    driven = DrivenRun([spec("read_file")], steps_at_a_time=5, most_steps=3, start=True)
    driven.act(a.Prepare)
    assert driven.run.planning is not None
    assert driven.run.planning.max_steps == 2
    driven.deliver(driven.wanted[0], ("ok", [spec("read_file")] * 2))
    driven.settle()
    assert (driven.run.state, driven.run.pause_reason) == (R.PAUSED, "step_limit")
    driven.command("execute_next")
    assert driven.run.state is R.COMPLETED
    poor = DrivenRun([spec("analyze")], steps_at_a_time=1, budget=Budget(0, 1), start=True)
    poor.settle()
    assert (poor.run.state, poor.run.pause_reason) == (R.PAUSED, "budget_reached")


def test_a_planner_that_is_away_holds_it_and_a_resume_asks_again() -> None:
    driven = DrivenRun([spec("read_file")], steps_at_a_time=1, start=True)
    driven.act(a.Prepare)
    driven.deliver(driven.wanted[0], error(Reason.MODEL_TIMEOUT))
    assert (driven.run.state, driven.run.pause_reason) == (R.PAUSED, "planning_failed")
    driven.command("resume")
    assert isinstance(driven.wanted[0], a.AskPlan)
