"""How steps end: retries, failures, unknown outcomes, cancelling."""

from __future__ import annotations

import pytest
from tests.support.driven_run import DrivenRun, drafted, spec
from tests.support.driven_steps import life, networked, one
from tests.support.executor_double import digest, error

from interlock.orchestrator.convert import views
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain.model import (
    RunState,
)

# -- failing ----------------------------------------------------------------------------------------------------


def test_retries_are_new_attempts_with_new_gates() -> None:
    driven = one("command", retries=1)
    for attempt in (1, 2):
        driven.act(a.Propose)
        driven.decide()
        assert driven.current.attempt == attempt
        driven.act(a.Prepare, "failed")
    assert driven.run.state is RunState.FAILED
    assert driven.run.steps[0].failures == 2
    assert driven.types().count("approval.requested") == 2


def test_a_manual_retry_has_its_own_retries() -> None:
    driven = one("none", retries=1)
    driven.act(a.Prepare, "failed")
    driven.act(a.Prepare, "failed")
    driven.command("retry_step", 1)
    driven.act(a.Prepare, "failed")
    driven.act(a.Prepare)
    driven.settle()
    assert driven.run.state is RunState.COMPLETED
    assert driven.run.steps[0].attempt == 4


def test_a_failure_in_the_fork_leaves_nothing_to_throw_away() -> None:
    driven = one("none")
    driven.act(a.Prepare, "failed")
    assert driven.run.discards == ()
    assert driven.run.steps[0].prepared is not None
    assert driven.run.steps[0].prepared.exit_code == 1


def test_an_attempt_that_was_given_up_is_thrown_away() -> None:
    driven = one("none")
    driven.act(a.Prepare, "SANDBOX_UNAVAILABLE")
    assert driven.run.state is RunState.FAILED
    driven.act(a.Discard)
    assert driven.wanted == ()


def test_an_unknown_outcome_pauses_and_is_thrown_away_once_decided() -> None:
    driven = networked("none")
    driven.act(a.Prepare, "unknown")
    assert driven.states() == ["OUTCOME_UNKNOWN"]
    assert (driven.run.state, driven.run.pause_reason) == (RunState.PAUSED, "outcome_unknown")
    assert driven.run.steps_done == 0
    assert driven.wanted == ()
    driven.command("skip_step", 1)
    driven.act(a.Discard)
    assert driven.run.state is RunState.COMPLETED


def test_an_unknown_outcome_of_a_paused_run_keeps_the_pause() -> None:
    driven = networked("none")
    driven.command("pause")
    driven.act(a.Prepare, "unknown")
    assert driven.run.pause_reason == "requested"
    driven.command("retry_step", 1)
    assert driven.run.state is RunState.PAUSED
    driven.command("resume")
    driven.settle()
    assert driven.run.state is RunState.COMPLETED


# -- cancelling -------------------------------------------------------------------------------------------------


def test_cancelling_stops_what_is_computed_and_publishes_nothing() -> None:
    driven = one("none")
    preview = driven.action(a.Prepare)
    driven.command("cancel", "enough")
    assert driven.wanted == (a.Discard(1, 1),)
    driven.deliver(preview, driven.perform(preview))
    assert driven.states() == ["CANCELLED"]
    assert "step.prepared" in driven.types()
    driven.act(a.Discard)
    assert driven.wanted == ()
    assert driven.executor.kept() == []


def test_cancelling_an_approved_command_that_runs() -> None:
    driven = one("command")
    driven.act(a.Propose)
    driven.decide()
    driven.command("cancel")
    driven.act(a.Discard)
    assert driven.states() == ["CANCELLED"]
    assert driven.run.state is RunState.CANCELLED


def test_the_error_of_a_stopped_attempt_does_not_make_it_failed() -> None:
    driven = one("none")
    preview = driven.action(a.Prepare)
    driven.command("cancel")
    assert driven.deliver(preview, error("EFFECT_DISCARDED")) == []
    driven.act(a.Discard)
    assert driven.states() == ["CANCELLED"]


@pytest.mark.parametrize("gate", ["none", "command"])
def test_a_stopped_command_with_network_has_an_unknown_outcome(gate: str) -> None:
    driven = networked(gate)
    if gate == "command":
        driven.act(a.Propose)
        driven.decide()
    driven.command("cancel")
    driven.act(a.Discard)
    assert driven.states() == ["OUTCOME_UNKNOWN"]
    assert driven.run.state is RunState.CANCELLED


def test_an_executor_that_does_not_know_says_so_while_cancelling() -> None:
    driven = networked("none")
    preview = driven.action(a.Prepare)
    driven.command("cancel")
    driven.deliver(preview, error("OUTCOME_UNKNOWN"))
    assert driven.states() == ["OUTCOME_UNKNOWN"]


@pytest.mark.parametrize(("outcome", "state"), [("ok", "SUCCEEDED"), ("WORKSPACE_DRIFTED", "FAILED")])
def test_a_publish_that_has_begun_is_finished_before_the_run_is_cancelled(outcome: str, state: str) -> None:
    driven = one("none")
    driven.act(a.Prepare)
    driven.command("cancel")
    assert driven.run.cancelling
    publish = driven.action(a.Apply)
    driven.deliver(publish, driven.perform(publish) if outcome == "ok" else error(outcome))
    assert driven.states() == [state]
    assert driven.run.state is RunState.CANCELLED
    driven.settle()
    assert driven.executor.kept() == []


@pytest.mark.parametrize("kind", ["analyze", "edit_file"])
def test_cancelling_while_a_model_is_asked_keeps_its_cost(kind: str) -> None:
    step = drafted() if kind == "edit_file" else spec(kind)
    driven = DrivenRun([step], start=True)
    (asked,) = driven.wanted
    driven.command("cancel")
    assert driven.wanted == ()
    ended = driven.run.steps[0].ended_at
    driven.deliver(asked, ("ok", digest("late")))
    assert driven.states() == ["CANCELLED"]
    assert driven.run.spent.calls == 1
    assert driven.run.steps[0].ended_at == ended


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("gate", ["command", "effect"])
def test_cancelling_withdraws_the_question(gate: str, paused: bool) -> None:
    driven = one(gate)
    driven.settle()
    if paused:
        driven.command("pause")
    driven.command("cancel")
    assert driven.run.state is RunState.CANCELLED
    assert life(driven)[-2:] == ["approval.cancelled", "cancelled"]
    driven.settle()
    assert driven.executor.kept() == []


def test_cancelling_what_is_approved_and_held() -> None:
    driven = one("effect")
    driven.settle()
    driven.command("pause")
    driven.decide()
    driven.command("cancel")
    assert driven.states() == ["CANCELLED"]
    driven.settle()
    assert driven.executor.kept() == []


def test_the_advice_of_a_failure_names_the_run_and_the_step_that_are_shown() -> None:
    driven = one("none")
    driven.act(a.Prepare, "failed")
    run = driven.run
    advice = f"`interlock step retry {run.run_id} 1` tries again."
    assert [views.run(run).failure.fix, views.step(run, run.steps[0], {}).failure.fix] == [advice, advice]
    assert run.failure is not None
    assert "RUN STEP" in run.failure.fix, "what is recorded is what the executor said"
