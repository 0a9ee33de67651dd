"""Which rights something stands by in a run, and what is taken back when one has ended."""

from __future__ import annotations

from datetime import timedelta

from tests.support.driven_run import DrivenRun, spec
from tests.support.executor_double import digest

from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.chain import time_text
from interlock.orchestrator.domain.decide_approval import Decision
from interlock.orchestrator.domain.decide_envelope import Grant, Granter, grant
from interlock.orchestrator.domain.early import KEPT, decide_or_keep
from interlock.orchestrator.domain.model import Bounds, EnvelopeState, RunState, Verdict
from interlock.orchestrator.domain.standing import Right, ended, rights
from interlock.orchestrator.domain.votes import Voter

DAN = Right("token:tok-1", "dlg-1")
EVE = Right("token:tok-2")
WHY = "It was revoked."


def standing() -> DrivenRun:
    """A run with an envelope of dan's in ada's place, and kept decisions of dan and eve about what is coming."""
    driven = DrivenRun([spec()], start=True)
    by = Granter(Voter("dan", "ada"), DAN.authentication, delegation=DAN.delegation)
    driven.tx(grant(driven.run, driven.ctx("dan"), Grant(Bounds(("**",))), by))
    coming = driven.executor.request(driven.run.steps[0].spec, driven.executor.head)
    for subject, right in (("dan", DAN), ("eve", EVE)):
        kept = Decision(
            Verdict.APPROVE,
            coming,
            subject,
            authentication=right.authentication,
            on_behalf_of="ada" if right.delegation else "",
            delegation=right.delegation,
        )
        driven.tx(decide_or_keep(driven.run, driven.ctx(subject), 1, kept))
    return driven


def test_what_ended_is_taken_back_and_the_rest_stands() -> None:
    driven = standing()
    assert rights(driven.run, driven.now) == {DAN, EVE}
    assert ended(driven.run, driven.now, {}) == []
    driven.tx(ended(driven.run, driven.now, {DAN: WHY}))
    assert driven.run.envelopes[0].state is EnvelopeState.REVOKED
    assert [kept.subject for kept in driven.run.steps[0].early] == ["eve"]
    assert rights(driven.run, driven.now) == {EVE}
    driven.act(a.Propose)
    assert driven.run.state is RunState.RUNNING, "eve's stands"


def test_without_any_people_are_asked() -> None:
    driven = standing()
    driven.tx(ended(driven.run, driven.now, {DAN: WHY, EVE: WHY}))
    told = [stored.recorded.event for stored in driven.journal]
    assert [event.reason for event in told if isinstance(event, e.DecisionWithdrawn)] == [WHY, WHY]
    driven.settle()
    assert driven.run.state is RunState.AWAITING_APPROVAL


def test_what_is_over_anyway_is_not_looked_at() -> None:
    driven = standing()
    assert rights(driven.run, driven.now + KEPT) == {DAN}, "the envelope lasts, the decisions do not"
    driven.command("cancel")
    driven.settle()
    assert rights(driven.run, driven.now) == frozenset()


def test_what_a_providers_person_grants_ends_within_half_a_day() -> None:
    driven = DrivenRun([spec()], start=True)
    for asked, hours in ((0, 12), (3600 * 1_000_000, 1), (48 * 3600 * 1_000_000, 12)):
        by = Granter(Voter("ann"), "oidc:https://id.example")
        (made,) = grant(driven.run, driven.ctx(), Grant(Bounds(("**",)), asked), by)
        assert isinstance(made, e.EnvelopeGranted)
        assert made.expires_at == time_text(driven.now + timedelta(hours=hours))
    (made,) = grant(driven.run, driven.ctx(), Grant(Bounds(("**",))), Granter(Voter("ann"), "token:tok-1"))
    assert isinstance(made, e.EnvelopeGranted)
    assert made.expires_at == ""


def test_another_digest_is_another_decision() -> None:
    driven = standing()
    other = Decision(Verdict.APPROVE, digest("other"), "dan", authentication="shared")
    driven.tx(decide_or_keep(driven.run, driven.ctx("dan"), 1, other))
    driven.tx(ended(driven.run, driven.now, {DAN: WHY}))
    assert [(kept.subject, kept.digest) for kept in driven.run.steps[0].early][1:] == [
        ("dan", digest("other"))
    ]
