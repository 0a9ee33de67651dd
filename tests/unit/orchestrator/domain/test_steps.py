"""Steps from their first attempt to their end, at every gate, with everything that can go wrong on the way."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.driven_run import DrivenRun, drafted, spec
from tests.support.executor_double import call, digest, error

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import decide_approval, decide_step
from interlock.orchestrator.domain.model import (
    MAX_ATTEMPTS,
    MAX_SUPERSEDED,
    Budget,
    Failure,
    Gate,
    OnFailure,
    Policy,
    Prepared,
    RejectAction,
    RunState,
)

FREE = Policy(edit_file_gate=Gate.NONE, run_command_gate=Gate.NONE)
LOOSE = Policy(steps_may_weaken=True)


def one(gate: str | None = None, policy: Policy = LOOSE, **fields: Any) -> DrivenRun:
    """A started run of one command."""
    return DrivenRun([spec("run_command", gate, **fields)], policy=policy, start=True)


def networked(gate: str) -> DrivenRun:
    return DrivenRun([spec("run_command", gate, command="x", network=["h:1"])], policy=LOOSE, start=True)


def life(driven: DrivenRun) -> list[str]:
    """What happened to the step, and to its approvals."""
    return [t.removeprefix("step.") for t in driven.types() if t.startswith(("step.", "approval."))]


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
    timer = driven.action(a.Expire)
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
    timer = driven.action(a.Expire)
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
    driven.act(a.Expire)
    assert driven.states() == ["FAILED"]


def test_an_expired_approval_of_a_step_that_may_fail_lets_the_run_go_on() -> None:
    policy = Policy(steps_may_weaken=True, approval_timeout_us=1)
    driven = DrivenRun([spec(on_failure=OnFailure.CONTINUE), spec("read_file")], policy=policy, start=True)
    driven.settle()
    driven.act(a.Expire)
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
