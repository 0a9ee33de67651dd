"""Steps from their first attempt to their result: gates, stale results, drift, planted effects."""

from __future__ import annotations

import pytest
from tests.support.driven_run import DrivenRun, drafted, spec
from tests.support.driven_steps import FREE, life, networked, one
from tests.support.executor_double import call, digest

from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import decide_step
from interlock.orchestrator.domain.model import (
    MAX_ATTEMPTS,
    MAX_SUPERSEDED,
    Failure,
    Gate,
    Prepared,
    RunState,
)

# -- the way through each gate ----------------------------------------------------------------------------------


def test_gate_none() -> None:
    driven = one("none")
    driven.settle()
    assert life(driven) == ["started", "prepared", "applying", "succeeded"]
    assert driven.run.state is RunState.COMPLETED
    assert driven.run.head_tree == driven.executor.head == driven.run.steps[0].head_tree


def test_gate_command_runs_after_approval_and_publishes_that() -> None:
    driven = one("command")
    driven.settle()
    assert driven.executor.ran == []
    driven.decide()
    assert driven.action(a.Prepare).expected_request == driven.current.approved_digest
    driven.settle()
    assert life(driven) == [
        "started",
        "proposed",
        "approval.requested",
        "approval.decided",
        "applying",
        "prepared",
        "succeeded",
    ]


def test_gate_effect_shows_first_and_publishes_what_was_shown() -> None:
    driven = one("effect")
    driven.settle()
    assert driven.executor.ran == [(1, 1)]
    shown = driven.current.prepared
    assert shown is not None
    assert driven.current.approval is not None
    assert driven.current.approval.digest == shown.effect_digest
    driven.decide()
    driven.settle()
    assert driven.executor.ran == [(1, 1)]
    assert driven.executor.head == shown.result_tree


def test_gate_both_asks_twice() -> None:
    driven = one("both")
    driven.settle()
    driven.decide()
    driven.settle()
    assert driven.current.approval is not None
    assert driven.current.approval.gate is Gate.EFFECT
    driven.decide()
    driven.settle()
    assert life(driven).count("approval.requested") == 2
    assert "executing" in life(driven)
    assert driven.run.state is RunState.COMPLETED


@pytest.mark.parametrize("gate", ["none", "command", "effect", "both"])
def test_a_command_with_network_is_asked_about_before_it_runs(gate: str) -> None:
    driven = networked(gate)
    assert driven.current.gate is (Gate.NONE if gate == "none" else Gate.COMMAND)


@pytest.mark.parametrize("kind", ["analyze", "summarize"])
def test_a_model_answers(kind: str) -> None:
    driven = DrivenRun([spec(kind)], start=True)
    driven.act(a.AskModel)
    step = driven.run.steps[0]
    assert step.state.value == "SUCCEEDED"
    assert step.reply_payload.startswith("sha256:")
    assert driven.run.spent.prompt_tokens == 10
    assert driven.run.spent.completion_tokens is None


def test_a_draft_becomes_a_preview() -> None:
    driven = DrivenRun([drafted()], start=True)
    driven.act(a.Draft)
    assert driven.current.draft_payload
    driven.act(a.Prepare)
    driven.decide()
    driven.act(a.Apply)
    assert driven.run.state is RunState.COMPLETED


@pytest.mark.parametrize("gate", ["none", "command"])
def test_what_changes_nothing_is_not_published(gate: str) -> None:
    driven = one(gate)
    if gate == "command":
        driven.act(a.Propose)
        driven.decide()
    driven.act(a.Prepare, "unchanged")
    assert driven.run.state is RunState.COMPLETED
    assert "run.completed" in driven.types()


def test_an_edit_without_a_change_asks_nobody() -> None:
    driven = DrivenRun([spec("edit_file"), spec("edit_file")], start=True)
    driven.act(a.Prepare, "unchanged")
    assert driven.states()[0] == "SUCCEEDED"
    assert "approval.requested" not in driven.types()
    assert "step.applying" not in driven.types()
    driven.act(a.Prepare)
    assert driven.states()[1] == "AWAITING_APPROVAL", "the next one has something to approve"


def test_an_edit_that_others_made_meanwhile_asks_nobody_again() -> None:
    driven = DrivenRun([spec("edit_file")], start=True)
    driven.act(a.Prepare)
    driven.executor.drift()
    driven.decide()
    driven.act(a.Apply, disjoint=False)
    assert driven.states() == ["PREPARING"]
    driven.act(a.Prepare, "unchanged")
    assert driven.run.state is RunState.COMPLETED
    assert driven.types().count("approval.requested") == 1


@pytest.mark.parametrize("gate", ["effect", "both"])
def test_a_command_without_a_change_is_still_asked_about(gate: str) -> None:
    driven = one(gate)
    if gate == "both":
        driven.act(a.Propose)
        driven.decide()
    driven.act(a.Prepare, "unchanged")
    assert driven.states() == ["AWAITING_APPROVAL"], "its output is what is approved"
    driven.decide("reject")
    assert driven.states() == ["REJECTED"]


# -- stale and repeated results ---------------------------------------------------------------------------------


def test_results_of_an_earlier_phase_of_the_same_attempt_are_stale() -> None:
    driven = one("both")
    proposal = driven.action(a.Propose)
    answer = driven.perform(proposal)
    driven.deliver(proposal, answer)
    assert driven.deliver(proposal, answer) == []
    driven.decide()
    assert driven.deliver(proposal, answer) == []
    preview = driven.action(a.Prepare)
    computed = driven.perform(preview)
    driven.deliver(preview, computed)
    assert driven.deliver(preview, computed) == []
    driven.decide()
    assert driven.deliver(preview, computed) == []
    published = driven.action(a.Apply)
    done = driven.perform(published)
    driven.deliver(published, done)
    assert driven.deliver(published, done) == []


def test_a_second_draft_does_not_replace_the_one_being_prepared() -> None:
    driven = DrivenRun([drafted()], start=True)
    draft = driven.action(a.Draft)
    driven.deliver(draft, ("ok", digest("first")))
    assert [x.type for x in driven.deliver(draft, ("ok", digest("second")))] == ["model.called"]
    assert driven.current.draft_payload == digest("first")
    assert driven.run.spent.calls == 2


def test_nothing_is_published_before_its_gate_whatever_arrives() -> None:
    driven = one("command")
    effect = Prepared(digest("r"), driven.executor.head, digest("p"), digest("e"), digest("t"))
    assert decide_step.prepared(driven.run, driven.ctx(), 1, 1, effect) == []
    assert decide_step.applied(driven.run, driven.ctx(), 1, 1, digest("t"), merged=False) == []
    driven.act(a.Propose)
    assert decide_step.prepared(driven.run, driven.ctx(), 1, 1, effect) == []
    failure = Failure("PATH_NOT_FOUND", "late")
    assert decide_step.action_failed(driven.run, driven.ctx(), 1, 1, failure) == []


def test_the_failure_of_an_action_that_is_not_wanted_any_more_is_stale() -> None:
    driven = DrivenRun([drafted()], start=True)
    draft = driven.action(a.Draft)
    driven.act(a.Draft)
    failure, calls = Failure("MODEL_TIMEOUT", "late"), [call("draft")]
    at = (driven.run, driven.ctx(), 1, 1, failure, calls)
    assert [x.type for x in decide_step.action_failed(*at, action=draft)] == ["model.called"]
    wanted = decide_step.action_failed(*at, action=driven.action(a.Prepare))
    assert [x.type for x in wanted] == ["model.called", "step.failed", "run.failed"]


@pytest.mark.parametrize("number", [0, 2, 99, -1])
def test_results_for_steps_that_do_not_exist(number: int) -> None:
    driven = one("none")
    effect = Prepared("r", "b", "p", "e", "t")
    assert decide_step.prepared(driven.run, driven.ctx(), number, 1, effect) == []
    assert decide_step.discarded(driven.run, driven.ctx(), number, 1) == []


def test_what_ran_must_be_what_was_approved() -> None:
    driven = one("command")
    driven.act(a.Propose)
    driven.decide()
    other = Prepared(digest("other request"), driven.executor.head, digest("p"), digest("e"), digest("t"))
    driven.tx(decide_step.prepared(driven.run, driven.ctx(), 1, 1, other))
    assert driven.current.attempt == 2
    assert {type(x) for x in driven.wanted} == {a.Propose, a.Discard}


@pytest.mark.parametrize("gate", ["none", "effect"])
def test_an_answer_without_an_effect_is_not_asked_about_and_not_published(gate: str) -> None:
    driven = one(gate)
    nothing = Prepared("", "", digest("p"))
    driven.tx(decide_step.prepared(driven.run, driven.ctx(), 1, 1, nothing))
    assert driven.states() == ["FAILED"]
    assert driven.run.failure is not None
    assert driven.run.failure.reason == "EFFECT_NOT_FOUND"


def test_an_answer_without_an_effect_while_cancelling_leaves_the_end_to_the_discard() -> None:
    driven = one("none")
    driven.command("cancel")
    assert decide_step.prepared(driven.run, driven.ctx(), 1, 1, Prepared("", "", digest("p"))) == []
    driven.act(a.Discard)
    assert driven.states() == ["CANCELLED"]


def test_network_that_ran_unapproved_is_not_run_again() -> None:
    driven = networked("command")
    driven.act(a.Propose)
    driven.decide()
    other = Prepared(digest("other request"), driven.executor.head, digest("p"), digest("e"), digest("t"))
    driven.tx(decide_step.prepared(driven.run, driven.ctx(), 1, 1, other))
    assert driven.states() == ["FAILED"]


# -- drift ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gate", ["command", "both"])
def test_drift_between_approval_and_execution_asks_again(gate: str) -> None:
    driven = one(gate)
    driven.act(a.Propose)
    driven.decide()
    driven.executor.drift()
    driven.act(a.Prepare)
    assert driven.executor.ran == []
    driven.act(a.Propose)
    assert driven.run.state is RunState.AWAITING_APPROVAL
    assert driven.current.attempt == 2
    assert "workspace.drift_adopted" in driven.types()


def test_drift_between_the_two_approvals_of_both() -> None:
    driven = one("both")
    driven.act(a.Propose)
    driven.decide()
    driven.act(a.Prepare)
    driven.executor.drift()
    driven.decide()
    driven.act(a.Apply, disjoint=False)
    assert driven.current.approved_request == ""
    driven.act(a.Discard)
    driven.settle()
    assert driven.current.approval is not None
    assert driven.current.approval.gate is Gate.COMMAND
    driven.decide()
    driven.settle()
    driven.decide()
    driven.settle()
    assert driven.executor.ran == [(1, 1), (1, 2)]
    assert driven.run.state is RunState.COMPLETED
    assert driven.executor.kept() == []


def test_disjoint_drift_keeps_the_approval() -> None:
    driven = one("effect")
    driven.settle()
    driven.executor.drift()
    driven.decide()
    driven.act(a.Apply, disjoint=True)
    assert driven.run.state is RunState.COMPLETED
    assert driven.run.head_tree == driven.executor.head


def test_a_workspace_that_never_stands_still_fails_the_step_in_the_end() -> None:
    driven = one("none")
    for _ in range(MAX_SUPERSEDED + 1):
        driven.act(a.Prepare)
        driven.executor.drift()
        driven.act(a.Apply, disjoint=False)
        driven.act(a.Discard)
    assert driven.run.state is RunState.FAILED
    assert driven.run.steps[0].attempt == MAX_SUPERSEDED + 1
    assert driven.run.failure is not None
    assert driven.run.failure.reason == "WORKSPACE_DRIFTED"
    assert f"{MAX_SUPERSEDED + 1} times" in driven.run.failure.message
    assert "step retry" in driven.run.failure.fix
    driven.command("retry_step", 1)
    driven.act(a.Prepare)
    driven.executor.drift()
    driven.act(a.Apply, disjoint=False)
    assert driven.current.superseded is not None
    assert driven.current.superseded.times == 1, "a person's retry counts from the start"


@pytest.mark.parametrize("gate", ["none", "command", "effect", "both"])
def test_an_attempt_that_someone_else_put_an_effect_under_is_passed_over(gate: str) -> None:
    driven = one(gate)
    for attempt in (1, 2):
        driven.executor.plant(1, attempt)
    while driven.run.state is not RunState.COMPLETED:
        driven.settle()
        if driven.run.state is RunState.AWAITING_APPROVAL:
            driven.decide()
    assert driven.executor.ran == [(1, 3)]
    assert driven.types().count("step.preview_superseded") == 2
    assert driven.executor.kept() == []


def test_more_planted_effects_than_previews_may_be_replaced_do_not_fail_the_step() -> None:
    driven = one("effect")
    for attempt in range(1, MAX_SUPERSEDED + 3):
        driven.executor.plant(1, attempt)
    driven.settle()
    assert driven.run.state is RunState.AWAITING_APPROVAL
    assert driven.executor.ran == [(1, MAX_SUPERSEDED + 3)]


def test_planted_effects_under_every_attempt_fail_the_step_with_the_reason() -> None:
    driven = one("effect")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        driven.executor.plant(1, attempt)
    driven.settle()
    assert driven.run.state is RunState.FAILED
    assert driven.run.failure is not None
    assert driven.run.failure.reason == "EFFECT_NOT_OWNED"
    assert driven.executor.ran == []


def test_a_renewed_preview_drafts_again() -> None:
    driven = DrivenRun([drafted()], policy=FREE, start=True)
    driven.act(a.Draft)
    driven.act(a.Prepare)
    driven.executor.drift()
    driven.act(a.Apply, disjoint=False)
    assert {type(x) for x in driven.wanted} == {a.Draft, a.Discard}


@pytest.mark.parametrize("gate", ["none", "command"])
def test_a_networked_command_that_cannot_be_published_is_not_run_again_by_itself(gate: str) -> None:
    driven = networked(gate)
    if gate == "command":
        driven.act(a.Propose)
        driven.decide()
    driven.act(a.Prepare)
    driven.executor.drift()
    driven.act(a.Apply, disjoint=False)
    assert driven.states() == ["FAILED"]
    driven.settle()
    assert driven.executor.ran == [(1, 1)]
