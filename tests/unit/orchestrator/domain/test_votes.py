"""Several people have to approve: stages, quorums, and who may not."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.driven_run import DrivenRun, spec
from tests.support.driven_steps import life

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import decide_run
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.model import Gate, Group, Policy, RunState, Stage, StepState

TWO_OF_THREE = Policy(stages=(Stage("team", 2, ("ada", "bob", "eve")),))
IN_ORDER = Policy(
    stages=(Stage("team", 2, ("group:core",)), Stage("security", 1, ("sec", "ada"))),
    groups=(Group("core", ("ada", "bob", "eve")),),
)
APART = Policy(separate_requester=True)


def waiting(policy: Policy, **fields: str) -> DrivenRun:
    """A run by `ann` whose command waits for approval."""
    driven = DrivenRun([spec(**fields)], policy=policy, start=True)
    driven.settle()
    assert driven.current.state is StepState.AWAITING_APPROVAL
    return driven


def refused(driven: DrivenRun, by: str, verdict: str = "approve") -> Reason:
    before = driven.run
    with pytest.raises(InterlockError) as caught:
        driven.decide(verdict, by=by)
    assert driven.run == before
    return caught.value.reason


def approved(driven: DrivenRun) -> bool:
    return any(isinstance(stored.recorded.event, e.ApprovalDecided) for stored in driven.journal)


@pytest.mark.parametrize("people", list(itertools.permutations(("ada", "bob", "eve"), 2)))
def test_two_of_three_in_any_order(people: tuple[str, str]) -> None:
    driven = waiting(TWO_OF_THREE)
    driven.decide(by=people[0])
    assert not approved(driven)
    assert driven.run.state is RunState.AWAITING_APPROVAL
    driven.decide(by=people[1])
    assert approved(driven)
    assert driven.run.state is RunState.RUNNING
    assert life(driven).count("approval.voted") == 2


def test_nobody_counts_twice() -> None:
    driven = waiting(TWO_OF_THREE)
    driven.decide(by="ada")
    assert refused(driven, "ada") is Reason.APPROVAL_ALREADY_VOTED
    assert refused(driven, "mallory") is Reason.PERMISSION_DENIED
    driven.decide(by="eve")
    assert approved(driven)


def test_stages_come_one_after_the_other() -> None:
    driven = waiting(IN_ORDER)
    assert refused(driven, "sec") is Reason.PERMISSION_DENIED
    driven.decide(by="bob")
    assert refused(driven, "sec") is Reason.PERMISSION_DENIED
    driven.decide(by="ada")
    assert not approved(driven)
    assert refused(driven, "ada") is Reason.APPROVAL_ALREADY_VOTED, "two stages are two people"
    driven.decide(by="sec")
    assert approved(driven)
    assert [vote.stage for vote in driven.run.steps[0].votes] == [0, 0, 1]


@pytest.mark.parametrize("who", ["ada", "sec", "eve", "ann"])
def test_one_rejection_ends_it_at_any_stage(who: str) -> None:
    driven = waiting(IN_ORDER)
    driven.decide(by="bob")
    driven.decide("reject", by=who)
    assert driven.run.steps[0].state is StepState.REJECTED


def test_those_who_are_not_named_cannot_reject_either() -> None:
    for verdict in ("reject", "skip"):
        assert refused(waiting(IN_ORDER), "mallory", verdict) is Reason.PERMISSION_DENIED


def test_who_asked_does_not_approve() -> None:
    driven = waiting(APART)
    assert refused(driven, "ann") is Reason.PERMISSION_DENIED
    driven.decide(by="bob")
    assert approved(driven)


def test_who_asked_may_still_refuse() -> None:
    driven = waiting(APART)
    driven.decide("reject", by="ann")
    assert driven.run.state is RunState.FAILED


def test_who_edited_it_does_not_approve() -> None:
    driven = waiting(APART)
    driven.decide("edit", by="bob", kind=driven.current.spec.kind, input={"command": "make all"})
    driven.settle()
    assert refused(driven, "bob") is Reason.PERMISSION_DENIED
    driven.decide(by="eve")
    assert driven.run.state is RunState.RUNNING


def test_an_edit_makes_votes_void() -> None:
    driven = waiting(TWO_OF_THREE)
    driven.decide(by="ada")
    driven.decide("edit", by="bob", kind=driven.current.spec.kind, input={"command": "make all"})
    driven.settle()
    assert driven.current.votes == ()
    driven.decide(by="ada")
    assert driven.run.state is RunState.AWAITING_APPROVAL


def test_both_gates_ask_the_people_twice() -> None:
    driven = waiting(TWO_OF_THREE, gate="both")
    for _ in range(2):
        assert driven.current.votes == ()
        driven.decide(by="ada")
        driven.decide(by="bob")
        driven.settle()
    assert driven.run.state is RunState.COMPLETED
    assert [type(stored.recorded.event) for stored in driven.journal].count(e.ApprovalVoted) == 4


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (Policy(stages=(Stage(quorum=2, approvers=("ada",)),)), "policy.stages[0]"),
        (Policy(stages=(Stage(), Stage(approvers=("group:none",)))), "policy.stages[1]"),
        (
            Policy(stages=(Stage(quorum=2, approvers=("group:a", "ada")),), groups=(Group("a", ("ada",)),)),
            "policy.stages[0]",
        ),
    ],
)
def test_what_nobody_could_complete_is_refused(policy: Policy, field: str) -> None:
    with pytest.raises(InterlockError) as caught:
        DrivenRun([spec()], policy=policy)
    assert caught.value.reason is Reason.INVALID_ARGUMENT
    assert caught.value.field == field


@given(
    quorums=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    people=st.lists(st.sampled_from("abcdefgh"), max_size=30),
)
def test_exactly_as_many_people_as_are_needed(quorums: list[int], people: list[str]) -> None:
    driven = waiting(Policy(run_command_gate=Gate.COMMAND, stages=tuple(Stage(quorum=q) for q in quorums)))
    voted: list[str] = []
    for person in people:
        if len(voted) == sum(quorums):
            break
        if person in voted:
            assert refused(driven, person) is Reason.APPROVAL_ALREADY_VOTED
            continue
        driven.decide(by=person)
        voted.append(person)
        assert approved(driven) == (len(voted) == sum(quorums))


def test_adding_steps_is_asking_too() -> None:
    driven = waiting(APART)
    driven.tx(decide_run.add_steps(driven.run, driven.ctx("carl"), [spec()]))
    driven.decide(by="bob")
    driven.settle()
    assert driven.current.number == 2
    assert refused(driven, "carl") is Reason.PERMISSION_DENIED
    driven.decide(by="bob")


def test_a_group_of_the_provider_is_whoever_is_in_it_when_they_decide() -> None:
    leads = Policy(stages=(Stage("", 2, ("group:all",)),), groups=(Group("all", ("provider:leads", "eve")),))
    driven = waiting(leads)
    assert refused(driven, "zoe") is Reason.PERMISSION_DENIED
    assert refused(driven, "provider:leads") is Reason.PERMISSION_DENIED, "a group's name is nobody's"
    driven.decide(by="zoe", groups=("leads", "other"))
    with pytest.raises(InterlockError):
        driven.decide(by="dan", on_behalf_of="bob", groups=("leads",))
    with pytest.raises(InterlockError):
        driven.decide(by="dan", groups=("other",))
    driven.decide(by="eve")
    assert approved(driven)
    votes = [s.recorded.event for s in driven.journal if isinstance(s.recorded.event, e.ApprovalVoted)]
    assert [vote.groups for vote in votes] == [("leads", "other"), ()]
