"""Envelopes: what they let through, what they do not, and what is recorded."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.support.driven_run import DrivenRun, drafted, spec
from tests.support.driven_steps import life

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import decide_envelope, decide_run, decide_step
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.asking import Question
from interlock.orchestrator.domain.decide_envelope import Grant, Granter
from interlock.orchestrator.domain.envelopes import Observed, given, passed, trial
from interlock.orchestrator.domain.model import (
    Bounds,
    CommandPrefix,
    EnvelopeState,
    Gate,
    Group,
    Policy,
    PolicyVerdict,
    Ruling,
    RunState,
    Stage,
    StepSpec,
)
from interlock.orchestrator.domain.votes import Voter

INSIDE = Observed(("src/a.py",), 100)
ELSEWHERE = Observed(("src/a.py", "Makefile"), 100)


def bounds(*paths: str, commands: tuple[str, ...] = ("make",), **more: Any) -> Bounds:
    return Bounds(paths or ("src/**",), tuple(CommandPrefix(tuple(c.split())) for c in commands), **more)


def granted(driven: DrivenRun, by: str = "bob", lasts: int = 0, **more: Any) -> str:
    asked = Grant(more.pop("bounds", None) or bounds(**more), lasts)
    driven.tx(decide_envelope.grant(driven.run, driven.ctx(by), asked, Granter(Voter(by))))
    return driven.run.envelopes[-1].envelope_id


def run_of(*specs: StepSpec, policy: Policy | None = None, seen: Observed = INSIDE) -> DrivenRun:
    """A started run whose first step waits for approval, and what its steps will be seen to do."""
    driven = DrivenRun([spec(), *specs], policy=policy, start=True)
    driven.seen = seen
    driven.settle()
    return driven


def asked(driven: DrivenRun) -> str:
    """Why the open question is asked in spite of envelopes."""
    assert driven.current.approval is not None
    return driven.current.approval.outside


def used(driven: DrivenRun) -> list[e.EnvelopeUsed]:
    return [s.recorded.event for s in driven.journal if isinstance(s.recorded.event, e.EnvelopeUsed)]


@pytest.mark.parametrize("gate", ["command", "effect", "both"])
def test_a_command_within_it_is_tried_in_its_fork_and_published_without_a_question(gate: str) -> None:
    driven = run_of(spec(gate=gate), policy=Policy(steps_may_weaken=True))
    envelope = granted(driven)
    driven.decide()
    driven.settle()
    assert driven.run.state is RunState.COMPLETED
    (use,) = used(driven)
    step = driven.run.steps[1]
    assert (use.envelope_id, use.granted_by, use.step, use.paths, use.size) == (envelope, "bob", 2, 1, 100)
    assert step.prepared is not None
    assert use.digest == step.prepared.effect_digest
    assert step.envelope == envelope
    assert [x for x in driven.types() if x == "approval.requested"] == ["approval.requested"]
    assert [u.step for u in driven.run.envelopes[0].uses] == [2]


def test_an_edit_within_it_does_not_ask() -> None:
    driven = run_of(spec("edit_file"), drafted())
    granted(driven)
    driven.decide()
    driven.settle()
    assert driven.run.state is RunState.COMPLETED
    assert [use.step for use in used(driven)] == [2, 3]


def test_what_a_command_did_counts_not_what_it_says() -> None:
    driven = run_of(spec(), seen=ELSEWHERE)
    envelope = granted(driven)
    driven.decide()
    driven.settle()
    assert driven.run.state is RunState.AWAITING_APPROVAL
    assert driven.current.approval is not None
    assert driven.current.approval.gate is Gate.EFFECT, (
        "it has run in its fork: its effect is what is asked about"
    )
    assert asked(driven) == f"Outside {envelope} (paths): Makefile is in none of src/**."
    assert used(driven) == []
    driven.decide()
    driven.settle()
    assert driven.run.state is RunState.COMPLETED


def test_rejecting_what_was_tried_publishes_nothing() -> None:
    driven = run_of(spec(), seen=ELSEWHERE)
    granted(driven)
    driven.decide()
    driven.settle()
    head = driven.executor.head
    driven.decide("reject")
    driven.settle()
    assert driven.executor.head == head
    assert driven.executor.effects[2, 1].state == "DISCARDED"


@pytest.mark.parametrize(
    ("step", "bound"),
    [
        (spec(command="rm -rf src"), "commands"),
        (spec(command="makefile"), "commands"),
        (spec(command="make; rm -rf ."), "commands"),
        (spec(command="make $(rm x)"), "commands"),
        (spec(command="make > x"), "commands"),
        (spec(command="X=1 make"), "commands"),
        (spec(command="make 'unclosed"), "commands"),
        (spec(command="sh -c make"), "commands"),
        (spec(command_payload="sha256:" + "0" * 64), "commands"),
        (spec(argv={"items": ["/usr/bin/make"]}), "commands"),
        (spec(command="make", network=["h:1"]), "network"),
        (spec(command="make", secrets=[{"name": "k", "appears_as": "K"}]), "secrets"),
    ],
)
def test_a_command_it_does_not_name_asks_before_it_runs(step: StepSpec, bound: str) -> None:
    driven = run_of(step)
    granted(driven)
    driven.decide()
    driven.settle()
    assert driven.current.approval is not None
    assert driven.current.approval.gate is Gate.COMMAND
    assert f"({bound})" in asked(driven)
    assert (2, 1) not in driven.executor.ran


@pytest.mark.parametrize(
    "step",
    [spec(command="make all -j2 'a b'"), spec(argv={"items": ["make", "; rm"]}), spec(command="make *.o")],
)
def test_one_plain_command_with_whatever_arguments(step: StepSpec) -> None:
    driven = run_of(step)
    granted(driven)
    driven.decide()
    driven.settle()
    assert driven.run.state is RunState.COMPLETED


def test_without_commands_it_is_about_edits_alone() -> None:
    driven = run_of(spec("edit_file"), spec())
    granted(driven, commands=())
    driven.decide()
    driven.settle()
    assert [use.step for use in used(driven)] == [2]
    assert "(commands)" in asked(driven)


def test_the_count_ends_it_and_the_first_one_outside_asks() -> None:
    driven = run_of(*[spec("edit_file") for _ in range(4)])
    envelope = granted(driven, max_steps=2)
    driven.decide()
    driven.settle()
    assert [use.step for use in used(driven)] == [2, 3]
    assert asked(driven) == f"Outside {envelope} (max_steps): 2 steps have used it."
    assert driven.types().count("envelope.exhausted") == 1
    assert driven.run.envelopes[0].state is EnvelopeState.EXHAUSTED
    driven.decide()
    driven.settle()
    assert driven.run.state is RunState.AWAITING_APPROVAL
    assert asked(driven) == ""


def test_bytes_add_up_and_a_smaller_step_may_still_fit() -> None:
    driven = run_of(*[spec("edit_file") for _ in range(4)])
    granted(driven, max_bytes=250)
    driven.decide()
    driven.settle()
    assert [use.step for use in used(driven)] == [2, 3]
    assert "(max_bytes): with it, 300 bytes would be changed, of 250" in asked(driven)
    driven.seen = Observed(("src/b",), 50)
    driven.decide()
    driven.settle()
    assert [use.step for use in used(driven)] == [2, 3, 5]


@pytest.mark.parametrize(("cost", "state"), [(5, RunState.COMPLETED), (600, RunState.AWAITING_APPROVAL)])
def test_what_the_run_spends_is_counted_from_the_grant_on(cost: int, state: RunState) -> None:
    driven = run_of(spec("analyze"), spec("edit_file"))
    granted(driven, max_cost_micros=500)
    driven.decide()
    while todo := [x for x in driven.wanted if not isinstance(x, a.Due)]:
        driven.deliver(todo[0], driven.perform(todo[0]), cost)
    assert driven.run.state is state
    assert driven.types().count("envelope.exhausted") == (state is not RunState.COMPLETED)


def test_a_cost_that_nobody_knows_is_outside() -> None:
    driven = run_of(spec("analyze"), spec("edit_file"))
    granted(driven, max_cost_micros=500)
    driven.decide()
    while todo := [x for x in driven.wanted if not isinstance(x, a.Due)]:
        driven.deliver(todo[0], driven.perform(todo[0]), None)
    assert "what the run has spent since is not known" in asked(driven)


def test_its_time_ends() -> None:
    driven = run_of(spec())
    granted(driven, lasts=60_000_000)
    driven.now += timedelta(minutes=2)
    driven.decide()
    driven.settle()
    assert "(expires_at)" in asked(driven)


def test_revoking_it_holds_for_the_step_under_way() -> None:
    driven = run_of(spec())
    envelope = granted(driven)
    driven.decide()
    while not any(isinstance(x, a.Prepare) and x.step == 2 for x in driven.wanted):
        todo = driven.wanted[0]
        driven.deliver(todo, driven.perform(todo))
    action = driven.action(a.Prepare)
    result = driven.perform(action)
    driven.tx(decide_envelope.revoke(driven.run, driven.ctx("eve"), envelope))
    assert driven.run.envelopes[0].revoked_by == "eve"
    assert driven.tx(decide_envelope.revoke(driven.run, driven.ctx("dan"), envelope)) == []
    driven.crash()
    driven.deliver(action, result)
    assert driven.run.state is RunState.AWAITING_APPROVAL
    assert driven.current.approval is not None
    assert driven.current.approval.gate is Gate.EFFECT


def test_revoking_what_there_is_not_is_refused() -> None:
    driven = run_of()
    with pytest.raises(InterlockError) as caught:
        decide_envelope.revoke(driven.run, driven.ctx(), "env-0")
    assert caught.value.reason is Reason.ENVELOPE_NOT_FOUND


def test_an_attempt_that_comes_to_nothing_does_not_count() -> None:
    driven = run_of(spec("edit_file"), spec("edit_file"))
    granted(driven, max_steps=2)
    driven.decide()
    while not any(isinstance(x, a.Apply) and x.step == 2 for x in driven.wanted):
        todo = driven.wanted[0]
        driven.deliver(todo, driven.perform(todo))
    assert [(u.step, u.attempt) for u in driven.run.envelopes[0].uses] == [(2, 1)]
    driven.executor.drift()
    driven.deliver(driven.action(a.Apply), driven.perform(driven.action(a.Apply), disjoint=False))
    assert driven.run.envelopes[0].uses == ()
    driven.settle()
    assert driven.run.state is RunState.COMPLETED
    assert [(u.step, u.attempt) for u in driven.run.envelopes[0].uses] == [(2, 2), (3, 1)]


def test_the_same_result_delivered_twice_counts_once() -> None:
    driven = run_of(spec("edit_file"))
    granted(driven)
    driven.decide()
    while not any(isinstance(x, a.Prepare) and x.step == 2 for x in driven.wanted):
        todo = driven.wanted[0]
        driven.deliver(todo, driven.perform(todo))
    action = driven.action(a.Prepare)
    result = driven.perform(action)
    driven.deliver(action, result)
    driven.crash()
    assert driven.deliver(action, result) == []
    assert len(used(driven)) == 1


def test_more_paths_than_are_listed_are_outside() -> None:
    driven = run_of(spec("edit_file"), seen=Observed(("src/a",), 1, complete=False))
    granted(driven, bounds=bounds("**"))
    driven.decide()
    driven.settle()
    assert "more than the 1 paths that can be looked at" in asked(driven)


def test_what_was_edited_asks() -> None:
    driven = run_of()
    granted(driven)
    driven.edit(command="make all")
    driven.settle()
    assert "bob has edited the step" in asked(driven)


def test_any_of_several_will_do_and_each_says_why_not() -> None:
    driven = run_of(spec("edit_file"), spec("edit_file"))
    first = granted(driven, bounds=bounds("docs/**"))
    second = granted(driven, bounds=bounds("src/*", max_steps=1))
    driven.decide()
    driven.settle()
    assert [use.envelope_id for use in used(driven)] == [second]
    assert f"Outside {first} (paths)" in asked(driven)
    assert f"Outside {second} (max_steps)" in asked(driven)


# -- who may grant ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "may", "may_not"),
    [
        (Policy(), ["ann", "bob"], []),
        (Policy(separate_requester=True), ["bob"], ["ann"]),
        (
            Policy(stages=(Stage("", 1, ("ada", "group:g")),), groups=(Group("g", ("eve",)),)),
            ["ada", "eve"],
            ["bob"],
        ),
        (Policy(stages=(Stage("", 2, ("ada", "eve")),)), [], ["ada", "bob"]),
        (Policy(stages=(Stage("", 1, ("ada",)), Stage("", 1, ("eve",)))), [], ["ada", "eve"]),
    ],
)
def test_only_who_could_approve_alone_grants(policy: Policy, may: list[str], may_not: list[str]) -> None:
    driven = run_of(policy=policy)
    for who in may:
        granted(driven, by=who)
    for who in may_not:
        with pytest.raises(InterlockError) as caught:
            granted(driven, by=who)
        assert caught.value.reason is Reason.PERMISSION_DENIED
    assert len(driven.run.envelopes) == len(may)


def test_who_grants_and_asks_for_a_step_is_kept_apart_when_it_is_used() -> None:
    driven = run_of(policy=Policy(separate_requester=True))
    granted(driven)
    context = driven.ctx("bob")
    driven.tx(added(driven, context))
    driven.decide(by="eve")
    driven.settle()
    assert "(granted_by): bob has asked for it or edited it" in asked(driven)


def added(driven: DrivenRun, context: Any) -> list[e.Event]:
    return decide_run.add_steps(driven.run, context, [spec()])


def test_it_comes_with_an_approval_about_what_that_shows() -> None:
    driven = run_of(spec("edit_file"))
    approval = driven.current.approval
    assert approval is not None
    driven.decide(envelope=Grant(bounds(), 0), authentication="token:tok-1", channel="cli", comment="go on")
    (made,) = driven.run.envelopes
    assert (made.approval_id, made.granted_by, made.comment) == (approval.approval_id, "bob", "go on")
    driven.settle()
    assert driven.run.state is RunState.COMPLETED


def test_a_vote_of_several_grants_nothing() -> None:
    driven = run_of(policy=Policy(stages=(Stage("", 2, ("ada", "bob")),)))
    before = driven.run
    with pytest.raises(InterlockError) as caught:
        driven.decide(by="ada", envelope=Grant(bounds(), 0))
    assert caught.value.reason is Reason.PERMISSION_DENIED
    assert driven.run == before


def test_bad_bounds_and_ended_runs_are_refused() -> None:
    driven = run_of()
    with pytest.raises(InterlockError) as caught:
        granted(driven, bounds=bounds("src/**", "/etc"))
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, "bounds.paths[1]")
    with pytest.raises(InterlockError) as caught:
        driven.decide(envelope=Grant(bounds("../x"), 0))
    assert caught.value.field == "decision.approve.envelope.paths[0]"
    driven.decide("reject")
    with pytest.raises(InterlockError) as caught:
        granted(driven)
    assert caught.value.reason is Reason.RUN_WRONG_STATE
    assert life(driven)[-1] == "rejected"


def test_what_a_policy_wants_a_person_to_see_is_within_none() -> None:
    driven = run_of(spec("edit_file"))
    granted(driven)
    step, now = driven.run.steps[1], driven.now
    usual, always = Question(Gate.EFFECT, asks=True), Question(Gate.EFFECT, asks=True, may_be_given=False)
    assert given(driven.run, step, usual, INSIDE, now) is not None
    assert given(driven.run, step, always, INSIDE, now) is None
    assert trial(driven.run, step, always, now) is None
    assert "(policy): the policy wants a person to see it" in passed(driven.run, step, always, INSIDE, now)


def test_an_effect_that_a_rule_denies_is_refused_within_an_envelope_too() -> None:
    driven = run_of(spec("edit_file"))
    granted(driven)
    driven.decide()
    while not any(isinstance(x, a.Prepare) and x.step == 2 for x in driven.wanted):
        todo = driven.wanted[0]
        driven.deliver(todo, driven.perform(todo))
    action = driven.action(a.Prepare)
    effect, _ = driven.perform(action)[1]
    no = Ruling(PolicyVerdict.DENY, "sha256:" + "1" * 64, observed=True)
    events = decide_step.prepared(driven.run, driven.ctx(), 2, 1, effect, None, no, INSIDE)
    assert [event.type for event in events][-2:] == ["step.failed", "run.failed"]
    assert not any(isinstance(event, e.EnvelopeUsed) for event in events)


def test_a_link_that_leads_out_is_outside_whatever_the_paths() -> None:
    driven = run_of(spec(), seen=replace(INSIDE, links_out=("src/a.py",)))
    granted(driven, bounds=bounds("**"))
    driven.decide()
    driven.settle()
    assert driven.run.state is RunState.AWAITING_APPROVAL
    assert "(links): src/a.py is a link that leads out of the workspace" in asked(driven)
