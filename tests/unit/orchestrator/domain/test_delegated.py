"""Deciding in somebody else's place: what that gives, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.driven_run import DrivenRun, spec

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.model import Policy, RunState, Stage

ONE = Policy(stages=(Stage("team", 1, ("ada", "eve")),))
TWO = Policy(stages=(Stage("team", 2, ("ada", "bob", "eve")),))
APART = Policy(separate_requester=True)


def waiting(policy: Policy) -> DrivenRun:
    driven = DrivenRun([spec()], policy=policy, start=True)
    driven.settle()
    return driven


def decide(driven: DrivenRun, by: str, place_of: str, verdict: str = "approve", **more: Any) -> None:
    driven.decide(verdict, by=by, on_behalf_of=place_of, delegation="dlg-1", **more)


def refused(driven: DrivenRun, by: str, place_of: str, verdict: str = "approve") -> InterlockError:
    before = driven.run
    with pytest.raises(InterlockError) as caught:
        decide(driven, by, place_of, verdict)
    assert driven.run == before
    return caught.value


def test_being_named_is_passed_on_and_both_names_are_recorded() -> None:
    driven = waiting(ONE)
    decide(driven, "dan", "ada")
    assert driven.run.state is RunState.RUNNING
    decided = next(
        s.recorded.event for s in driven.journal if isinstance(s.recorded.event, e.ApprovalDecided)
    )
    assert (decided.subject, decided.on_behalf_of, decided.delegation) == ("dan", "ada", "dlg-1")
    (vote,) = driven.run.steps[0].votes
    assert vote.people == {"dan", "ada"}
    (given,) = driven.run.steps[0].reviewed
    assert (given.subject, given.on_behalf_of, given.delegation) == ("dan", "ada", "dlg-1")


@pytest.mark.parametrize("verdict", ["approve", "reject", "skip"])
def test_nobody_gives_what_they_have_not(verdict: str) -> None:
    assert refused(waiting(ONE), "eve", "mallory", verdict).reason is Reason.PERMISSION_DENIED


def test_a_delegation_to_one_who_is_named_adds_no_second_vote() -> None:
    driven = waiting(TWO)
    driven.decide(by="bob")
    error = refused(driven, "bob", "ada")
    assert (error.reason, error.metadata["subject"]) == (Reason.APPROVAL_ALREADY_VOTED, "bob")
    error = refused(driven, "dan", "bob")
    assert (error.reason, error.metadata["subject"]) == (Reason.APPROVAL_ALREADY_VOTED, "bob")
    decide(driven, "dan", "ada")
    assert driven.run.state is RunState.RUNNING


def test_who_was_voted_for_cannot_vote_again() -> None:
    driven = waiting(TWO)
    decide(driven, "dan", "ada")
    for by, place_of in (("ada", ""), ("dan", "eve")):
        assert refused(driven, by, place_of).reason is Reason.APPROVAL_ALREADY_VOTED
    driven.decide(by="eve")
    assert driven.run.state is RunState.RUNNING


@pytest.mark.parametrize(("by", "place_of"), [("ann", "bob"), ("bob", "ann")])
def test_who_asked_is_kept_apart_in_both_places(by: str, place_of: str) -> None:
    driven = waiting(APART)
    error = refused(driven, by, place_of)
    assert (error.reason, error.metadata["subject"]) == (Reason.PERMISSION_DENIED, "ann")


@pytest.mark.parametrize(("by", "place_of"), [("bob", ""), ("eve", ""), ("eve", "bob"), ("dan", "eve")])
def test_who_edited_in_somebodys_place_is_kept_apart_as_both(by: str, place_of: str) -> None:
    driven = waiting(APART)
    kind = driven.current.spec.kind
    decide(driven, "bob", "eve", "edit", kind=kind, input={"command": "make all"})
    driven.settle()
    assert driven.current.edited_by == "bob"
    assert refused(driven, by, place_of).reason is Reason.PERMISSION_DENIED
    driven.decide(by="carl")
    assert driven.run.state is RunState.RUNNING


def test_who_edited_is_named_until_the_step_begins_anew() -> None:
    driven = waiting(Policy())
    driven.edit(command="make all")
    driven.settle()
    assert driven.current.edited_by == "bob"
    driven.decide("reject")
    driven.command("retry_step", 1)
    driven.settle()
    assert driven.current.edited_by == ""
