"""Runs that are set aside: nothing is done, nothing is lost, and a person gets them going from every situation."""

from __future__ import annotations

import pytest
from tests.support.driven_run import DrivenRun, spec
from tests.support.situations import FREE, SITUATIONS

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import aside
from interlock.orchestrator.domain.model import Failure, RunState, StepState

DEFECT = Failure("INTERNAL", "It raised.")
NEEDS = sorted(name for name, make in SITUATIONS.items() if a.actions(make().run))


def held(name: str) -> DrivenRun:
    driven = SITUATIONS[name]()
    driven.tx(aside.set_aside(driven.run, driven.ctx(), "prepare", DEFECT, 5))
    return driven


def test_there_is_something_to_set_aside_in_many_situations() -> None:
    assert {"running", "planning", "cancelling", "rolling_back", "paused"} <= set(NEEDS)


@pytest.mark.parametrize("name", NEEDS)
def test_nothing_is_done_until_it_is_resumed_and_then_the_same(name: str) -> None:
    before = SITUATIONS[name]()
    driven = held(name)
    assert driven.wanted == ()
    assert driven.run.state is before.run.state
    driven.crash()
    assert driven.wanted == ()
    assert driven.tx(aside.set_aside(driven.run, driven.ctx(), "prepare", DEFECT, 5)) == []
    driven.command("resume")
    assert driven.wanted == before.wanted
    assert driven.run.set_aside is None
    driven.settle()


@pytest.mark.parametrize("name", sorted(set(NEEDS) - {"rolling_back"}))
def test_it_can_be_cancelled(name: str) -> None:
    driven = held(name)
    driven.command("cancel")
    driven.settle()
    assert driven.run.state is RunState.CANCELLED


def test_retrying_the_step_goes_on_with_the_same_attempt() -> None:
    driven = held("running")
    driven.command("retry_step", 1)
    assert driven.current.attempt == 1
    assert driven.wanted


def test_a_step_that_cannot_have_acted_is_passed_over() -> None:
    driven = DrivenRun([spec(), spec("read_file")], policy=FREE, start=True)
    driven.tx(aside.set_aside(driven.run, driven.ctx(), "prepare", DEFECT, 5))
    driven.command("skip_step", 1)
    driven.settle()
    assert driven.states() == ["SKIPPED", "SUCCEEDED"]
    assert driven.run.state is RunState.COMPLETED
    assert driven.types().count("step.effect_discarded") == 1, "what may be under way is thrown away"


@pytest.mark.parametrize("network", [False, True])
def test_a_step_that_may_have_acted_is_not(network: bool) -> None:
    fields = {"command": "curl", "network": ["example.com"]} if network else {"command": "make"}
    driven = DrivenRun([spec(**fields)], policy=FREE, start=True)
    if network:
        driven.act(a.Propose)
        driven.decide()
    else:
        driven.act(a.Prepare)
    assert driven.current.state is StepState.APPLYING
    driven.tx(aside.set_aside(driven.run, driven.ctx(), "apply", DEFECT, 5))
    with pytest.raises(InterlockError) as caught:
        driven.command("skip_step", 1)
    assert caught.value.reason is Reason.STEP_WRONG_STATE
    assert "run resume run-1" in caught.value.fix
    driven.command("resume")
    driven.settle()
    assert driven.run.state is RunState.COMPLETED


@pytest.mark.parametrize(
    ("name", "commands", "state"),
    [
        ("failed", [("retry_step", 1)], "COMPLETED"),
        ("failed", [("skip_step", 1)], "COMPLETED"),
        ("unknown", [("retry_step", 1)], "COMPLETED"),
        ("unknown", [("skip_step", 1)], "COMPLETED"),
        ("paused", [("resume",)], "AWAITING_APPROVAL"),
        ("paused_awaiting", [("skip_step", 1), ("resume",)], "AWAITING_APPROVAL"),
        ("awaiting", [("skip_step", 1)], "AWAITING_APPROVAL"),
    ],
)
def test_every_stuck_situation_is_left_by_a_person(
    name: str, commands: list[tuple[str, ...]], state: str
) -> None:
    driven = SITUATIONS[name]()
    for command, *args in commands:
        driven.command(command, *args)
    driven.settle()
    assert driven.run.state.value == state
