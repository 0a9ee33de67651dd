"""What a run waits for, in every situation there is; and that what is advised can be done."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.support.driven_run import START, DrivenRun, drafted, spec
from tests.support.situations import SITUATIONS, awaiting

from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import aside, decide_run
from interlock.orchestrator.domain.explain import Cause, Driver, Explanation, Facts, Line, Trouble, explain
from interlock.orchestrator.domain.model import Budget, Failure, Gate, Group, OnFailure, Policy, Run, Stage

DRIVEN = Facts(Driver("orchestrator-1", True))
AWAY = Failure("UNAVAILABLE", "The executor cannot be reached.", fix="Start it.")
FREE = Policy(edit_file_gate=Gate.NONE, run_command_gate=Gate.NONE)
DEFECT = Failure("INTERNAL", "It raised.")


def waits_in_line() -> DrivenRun:
    driven = DrivenRun([spec()])
    driven.command("wait_to_start", "run-0")
    return driven


def asks_a_model() -> DrivenRun:
    return DrivenRun([spec("analyze")], start=True)


def without_budget() -> DrivenRun:
    driven = DrivenRun([spec("analyze"), spec("analyze")], budget=Budget(max_model_calls=1), start=True)
    driven.settle()
    return driven


def step_by_step() -> DrivenRun:
    driven = DrivenRun([spec("read_file"), spec("read_file")])
    driven.command("execute_next")
    driven.settle()
    return driven


def rejected() -> DrivenRun:
    driven = awaiting()
    driven.decide("reject")
    return driven


def removed() -> DrivenRun:
    driven = SITUATIONS["planned"]()
    driven.command("workspace_removed", directory_deleted=False)
    return driven


def publishing() -> DrivenRun:
    driven = DrivenRun([spec("edit_file")], policy=FREE, start=True)
    driven.act(a.Prepare)
    return driven


def put_aside(driven: DrivenRun) -> DrivenRun:
    driven.tx(aside.set_aside(driven.run, driven.ctx(), "prepare", DEFECT, 5))
    return driven


CAUSES = {
    "created": Cause.PLAN,
    "planning": Cause.MODEL,
    "planned": Cause.START,
    "running": Cause.WORK,
    "awaiting": Cause.DECISION,
    "paused": Cause.WORK,  # the step under way goes on
    "paused_awaiting": Cause.DECISION,
    "completed": Cause.NOTHING,
    "failed": Cause.STEP_FAILED,
    "cancelled": Cause.NOTHING,
    "cancelling": Cause.WORK,
    "unknown": Cause.OUTCOME_UNKNOWN,
    "rolling_back": Cause.WORK,
    "waits_in_line": Cause.WORKSPACE_BUSY,
    "asks_a_model": Cause.MODEL,
    "without_budget": Cause.BUDGET,
    "step_by_step": Cause.PERSON,
    "rejected": Cause.STEP_FAILED,
    "removed": Cause.NOTHING,
    "publishing": Cause.WORK,
}
EVERY = SITUATIONS | {
    f.__name__: f
    for f in (
        waits_in_line,
        asks_a_model,
        without_budget,
        step_by_step,
        rejected,
        removed,
        publishing,
    )
}


@pytest.mark.parametrize("name", sorted(EVERY))
def test_every_situation_has_its_cause(name: str) -> None:
    driven = EVERY[name]()
    said = explain(driven.run, DRIVEN)
    assert said.cause is CAUSES[name]
    assert said.summary.endswith((".", "…"))
    assert START < said.since <= driven.now
    assert said.options, "something can always be done"


@pytest.mark.parametrize("name", sorted(EVERY))
@pytest.mark.parametrize("held", [False, True])
def test_what_is_advised_can_be_done(name: str, held: bool) -> None:
    driven = EVERY[name]()
    if held and a.actions(driven.run):
        put_aside(driven)
    for option in explain(driven.run, DRIVEN).options:
        assert "`" not in option.command
        apply(driven.run, driven, option.command)


def apply(run: Run, driven: DrivenRun, command: str) -> None:
    """Decides what the command would; a refusal raises."""
    ctx = driven.ctx()
    if found := re.fullmatch(r"interlock run (resume|cancel|start) run-1", command):
        assert getattr(decide_run, found[1])(run, ctx) or run.cancelling
    elif found := re.fullmatch(r"interlock step (retry|skip) run-1 (\d+)", command):
        assert getattr(decide_run, f"{found[1]}_step")(run, ctx, int(found[2]))
    elif " approvals " in command:
        assert run.current is not None
        assert run.current.approval is not None
        assert run.current.approval.approval_id in command


@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_run_without_a_driver_says_so_only_where_it_needs_one(name: str) -> None:
    driven = EVERY[name]()
    gone = Facts(Driver("orchestrator-1", False, START), lease=6.0)
    said = explain(driven.run, gone)
    needs = [action for action in driven.wanted if not isinstance(action, a.Due)]
    if needs and not driven.run.waiting:
        assert said.cause is Cause.DRIVER
        assert said.since == START
        assert "orchestrator-1" in said.summary
    else:
        assert said.cause is CAUSES[name]


@pytest.mark.parametrize("name", sorted(EVERY))
def test_an_executor_that_is_away_is_named_only_where_it_is_needed(name: str) -> None:
    driven = EVERY[name]()
    said = explain(driven.run, replace(DRIVEN, executor=AWAY))
    needs = (a.Propose, a.Prepare, a.Apply, a.Discard, a.Restore, a.AskPlan, a.Draft)
    if any(isinstance(action, needs) for action in driven.wanted):
        assert said.cause is Cause.EXECUTOR
        assert AWAY.message in said.summary
        assert AWAY.fix in said.details
    else:
        assert said.cause is CAUSES[name]


@pytest.mark.parametrize("name", ["planning", "asks_a_model"])
def test_a_planner_that_is_away_is_named(name: str) -> None:
    away = Failure("PLANNER_UNAVAILABLE", "The planner cannot be reached.")
    assert explain(EVERY[name]().run, replace(DRIVEN, planner=away)).cause is Cause.PLANNER
    assert explain(EVERY["running"]().run, replace(DRIVEN, planner=away)).cause is Cause.WORK


def test_a_draft_begins_with_the_workspace() -> None:
    driven = DrivenRun([drafted()], start=True)
    assert explain(driven.run, replace(DRIVEN, executor=AWAY)).cause is Cause.EXECUTOR
    assert explain(driven.run, DRIVEN).cause is Cause.MODEL


def test_a_workspace_that_the_executor_does_not_have_is_named() -> None:
    lost = Failure("WORKSPACE_NOT_FOUND", "There is no workspace ws-1.")
    said = explain(EVERY["running"]().run, replace(DRIVEN, workspace=lost))
    assert said.cause is Cause.WORKSPACE
    assert "ws-1" in said.summary


@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_run_that_was_set_aside_says_why(name: str) -> None:
    driven = put_aside(EVERY[name]())
    said = explain(driven.run, DRIVEN)
    assert said.cause is Cause.SET_ASIDE
    assert "5 times" in said.summary
    assert "INTERNAL: It raised." in said.details
    assert said.options[0].command == "interlock run resume run-1"


@pytest.mark.parametrize(
    ("reason", "cause"), [("WORKSPACE_BUSY", Cause.WORKSPACE_BUSY), ("RESOURCE_EXHAUSTED", Cause.EXECUTOR)]
)
def test_what_the_driver_waits_for_is_said_with_how_often(reason: str, cause: Cause) -> None:
    driven = EVERY["running"]()
    since = START + timedelta(seconds=3)
    known = Trouble("propose", Failure(reason, "Full."), since, 7)
    said = explain(driven.run, replace(DRIVEN, troubles=(known,)))
    assert (said.cause, said.since) == (cause, since)
    assert any("7 times" in line for line in said.details)
    other = explain(driven.run, replace(DRIVEN, troubles=(replace(known, action="apply"),)))
    assert other.cause is Cause.WORK


def test_who_has_the_workspace_and_who_comes_before() -> None:
    said = explain(waits_in_line().run, replace(DRIVEN, line=Line("run-9", 2)))
    assert "run-9" in said.summary
    assert "2 other runs" in said.summary
    assert said.options[0].command == "interlock run explain run-9"


def test_who_may_decide_who_has_and_until_when() -> None:
    policy = Policy(
        stages=(Stage("team", 2, ("bob", "cid", "dan")), Stage("lead", 1, ("group:leads",))),
        groups=(Group("leads", ("lea",)),),
        separate_requester=True,
        approval_timeout_us=3_600_000_000,
    )
    driven = DrivenRun([spec()], policy=policy, start=True)
    driven.settle()
    driven.decide(by="bob")
    text = "\n".join(_decision(driven).details)
    assert "Stage 1 (team) is open: 1 of 2 approvals, given by bob; bob, cid, dan may decide." in text
    assert "Stage 2 (lead) comes later: 0 of 1 approvals; lea may decide." in text
    assert "Not whoever asked for it: ann." in text
    assert "It expires at 2026-11-22T13:00:00" in text
    driven.decide(by="cid")
    text = "\n".join(_decision(driven).details)
    assert "Stage 1 (team) is complete: 2 of 2" in text
    assert "Stage 2 (lead) is open" in text


def _decision(driven: DrivenRun) -> Explanation:
    said = explain(driven.run, DRIVEN)
    assert said.cause is Cause.DECISION
    assert said.since == driven.current.asked_at
    return said


def test_timers_of_an_approval_without_a_driver_come_late() -> None:
    driven = DrivenRun([spec()], policy=Policy(approval_timeout_us=1_000_000), start=True)
    driven.settle()
    said = explain(driven.run, Facts(Driver()))
    assert said.cause is Cause.DECISION
    assert any("Nobody drives" in line for line in said.details)


def test_a_step_with_network_is_asked_about_by_its_hosts() -> None:
    driven = DrivenRun([spec(command="curl", network=["example.com"])], policy=FREE, start=True)
    driven.act(a.Propose)
    driven.decide()
    driven.act(a.Prepare, "unknown")
    assert "at example.com" in explain(driven.run, DRIVEN).summary


def test_a_reopened_run_with_a_failed_step_names_the_step() -> None:
    driven = DrivenRun([spec(on_failure=OnFailure.STOP), spec()], policy=FREE, start=True)
    driven.act(a.Prepare, "failed")
    assert explain(driven.run, DRIVEN).options[1].command == "interlock step retry run-1 1"
