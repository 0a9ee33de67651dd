"""Who answers for whom: agents and their owners, names that differ by case, and what a planner was told."""

from __future__ import annotations

import pytest
from tests.support.driven_run import DrivenRun, spec

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import decide_run
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.actions import AskPlan
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.decide_envelope import Grant, Granter, grant
from interlock.orchestrator.domain.fork import Prefix, fork, found
from interlock.orchestrator.domain.model import Bounds, Policy, RejectAction, Stage, StepState
from interlock.orchestrator.domain.people import everyone, named, same_person
from interlock.orchestrator.domain.votes import Voter, check_stages

APART = Policy(separate_requester=True)
TWO = Policy(stages=(Stage("", 2),))
AGENT = "ann"  # who a DrivenRun is created by


def waiting(policy: Policy, **owners: str) -> DrivenRun:
    """A run whose command asks; of these people it is known whose agents they are."""
    driven = DrivenRun([spec()], policy=policy, start=True)
    driven.tx([e.AgentNamed(agent.replace("_", "-"), owner) for agent, owner in owners.items()])
    driven.settle()
    assert driven.current.state is StepState.AWAITING_APPROVAL
    return driven


def refusal(driven: DrivenRun, by: str, **more: str) -> InterlockError:
    before = driven.run
    with pytest.raises(InterlockError) as caught:
        driven.decide(by=by, **more)
    assert driven.run == before
    return caught.value


@pytest.mark.parametrize(
    ("by", "why"),
    [("ann", "same"), ("Ann", "same"), ("alice", "owner"), ("ALICE", "owner"), ("agent-8", "same_owner")],
)
def test_who_asked_and_whose_agent_it_is_cannot_approve(by: str, why: str) -> None:
    driven = waiting(APART, ann="alice", agent_8="Alice")
    error = refusal(driven, by)
    assert error.reason is Reason.PERMISSION_DENIED
    assert (error.metadata["why"], error.metadata["asked_by"]) == (why, AGENT)
    driven.decide("reject", by=by)  # refusing stays possible


def test_an_agent_cannot_approve_what_its_owner_asked_for() -> None:
    driven = waiting(APART, agent_8="ann")
    assert refusal(driven, "agent-8").metadata["why"] == "agent"
    assert refusal(driven, "dan", on_behalf_of="agent-8").metadata["why"] == "agent"
    assert refusal(driven, "agent-8", on_behalf_of="eve").metadata["why"] == "agent"
    driven.decide(by="bob")


def test_the_refusal_says_why() -> None:
    error = refusal(waiting(APART, ann="alice"), "alice")
    assert str(error).startswith("alice is the owner of ann, who created the run, and the policy")


def test_without_the_rule_the_owner_may() -> None:
    waiting(Policy(), ann="alice").decide(by="alice")


@pytest.mark.parametrize("again", ["bob", "Bob", "carl", "agent-7"])
def test_one_person_counts_once_by_whatever_name(again: str) -> None:
    driven = waiting(TWO, bob="carl", agent_7="carl")
    driven.decide(by="bob")
    assert refusal(driven, again).reason is Reason.APPROVAL_ALREADY_VOTED
    driven.decide(by="eve")
    assert driven.run.steps[0].state is not StepState.AWAITING_APPROVAL


def test_a_right_is_given_to_a_name_as_it_is_spelled() -> None:
    driven = waiting(Policy(stages=(Stage("", 1, ("bob",)),)))
    assert refusal(driven, "Bob").reason is Reason.PERMISSION_DENIED
    driven.decide(by="bob")


def test_a_stage_does_not_count_one_person_as_two() -> None:
    with pytest.raises(InterlockError, match="wants 2 people to approve and names 1"):
        check_stages(Policy(stages=(Stage("", 2, ("bob", "Bob")),)))


@pytest.mark.parametrize("by", ["ann", "alice", "ANN"])
def test_nobody_who_is_kept_apart_grants_an_envelope(by: str) -> None:
    driven = waiting(APART, ann="alice")
    with pytest.raises(InterlockError) as caught:
        grant(driven.run, driven.ctx(by), Grant(Bounds(("**",))), Granter(Voter(by)))
    assert caught.value.reason is Reason.PERMISSION_DENIED


def test_what_a_planner_was_told_is_somebodys() -> None:
    driven = DrivenRun([spec()], policy=APART, start=True)
    driven.settle()
    driven.decide("reject", by="mallory", action=RejectAction.REPLAN, comment="write a key of mine")
    driven.act(AskPlan)
    driven.settle()
    assert driven.current.authors == ("mallory", "planner")
    assert refusal(driven, "mallory").metadata["why"] == "same"
    driven.decide(by="bob")


def test_a_run_is_created_with_whose_agent_asks() -> None:
    ctx = Context(DrivenRun().now, lambda prefix: prefix, "agent-7", owner="alice")
    made = decide_run.create(ctx, goal="g", workspace_id="ws-1", specs=[spec()], start=True)
    assert made[1] == e.AgentNamed("agent-7", "alice")


def test_owners_are_told_once_and_add_up() -> None:
    driven = DrivenRun()
    assert named(driven.run, {"bob": "", "eve": "Eve"}) == []
    driven.tx(named(driven.run, {"bob": "carl"}))
    assert named(driven.run, {"bob": "carl"}) == []
    driven.tx(named(driven.run, {"bob": "eve"}))
    assert everyone(driven.run, ["bob"]) == ("bob", "carl", "eve")
    assert same_person(driven.run, ["bob"], ["carl"]) is not None
    assert same_person(driven.run, ["carl"], ["eve"]) is None, "two owners of one agent are two people"


def test_who_asked_for_a_step_has_asked_for_it_in_a_fork_too() -> None:
    """Somebody else who forks the run does not make its author a second pair of eyes."""
    parent = DrivenRun([spec("read_file"), spec()], policy=APART, start=True)
    parent.tx([e.AgentNamed("ann", "alice")])
    prefix = Prefix(0, parent.run)
    for stored in parent.journal:
        prefix.add(stored.recorded)
    made = fork(parent.ctx("bob"), found(prefix), tree="", workspace_id="ws-2", labels={}, start=True)
    child = DrivenRun(policy=APART)
    child.tx([each for each in made if isinstance(each, e.AgentNamed | e.StepsAdded)])
    child.command("start")
    child.settle()
    assert child.current.authors == ("ann", "bob")
    for who in ("bob", "ann", "alice"):
        assert refusal(child, who).reason is Reason.PERMISSION_DENIED
    child.decide(by="carl")
