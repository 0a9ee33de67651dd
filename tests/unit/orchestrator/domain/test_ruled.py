"""A step that rules decide about, through its life: refused, asked, let through, and decided about anew."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.driven_run import DrivenRun, spec
from tests.support.driven_steps import life

from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import decide_step
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.model import (
    Failure,
    Gate,
    OnFailure,
    Policy,
    PolicyVerdict,
    Rule,
    RuleEffect,
    RuleHit,
    Ruling,
    RunState,
    Stage,
    StepState,
)
from interlock.orchestrator.domain.replaying import began

DIGEST = "sha256:" + "1" * 64
RULES = Policy(rules=(Rule("r", RuleEffect.DENY, "true"),))


def ruling(verdict: str, *, observed: bool = False, **fields: Any) -> Ruling:
    effect = RuleEffect(verdict) if verdict != "default" else None
    hits = (RuleHit("p", "r", effect, observed=observed),) if effect else ()
    return Ruling(PolicyVerdict(verdict), DIGEST, rules=hits, observed=observed, **fields)


class Ruled(DrivenRun):
    """A run with rules; what they say is given."""

    def __init__(self, *specs: Any, policy: Policy = RULES) -> None:
        super().__init__(specs or [spec()], policy=policy, start=True)

    def judge(self, said: Ruling) -> list[e.Event]:
        action = self.action(a.Judge)
        return self.tx(decide_step.judged(self.run, self.ctx(), action.step, action.attempt, said))

    def prepare(self, said: Ruling) -> list[e.Event]:
        action = self.action(a.Prepare)
        kind, value = self.perform(action)
        assert kind == "ok"
        prepared, failure = value
        return self.tx(
            decide_step.prepared(self.run, self.ctx(), action.step, action.attempt, prepared, failure, said)
        )


def test_nothing_is_done_before_the_rules_have_spoken() -> None:
    driven = Ruled()
    assert [type(each) for each in driven.wanted] == [a.Judge]
    driven.crash()
    assert [type(each) for each in driven.wanted] == [a.Judge], "another driver asks again"
    driven.judge(ruling("default"))
    assert [type(each) for each in driven.wanted] == [a.Propose]


def test_without_rules_nobody_asks_for_them() -> None:
    driven = DrivenRun([spec()], start=True)
    assert [type(each) for each in driven.wanted] == [a.Propose]
    assert not driven.current.judge


def test_a_denied_step_never_begins_and_stops_its_run() -> None:
    driven = Ruled()
    driven.judge(ruling("deny"))
    assert life(driven) == ["started", "ruled", "failed"]
    assert driven.run.state is RunState.FAILED
    assert driven.executor.ran == []
    assert driven.run.steps[0].failure is not None
    assert driven.run.steps[0].failure.reason == "POLICY_DENIED"


def test_a_denied_step_is_not_tried_again_by_itself_and_may_let_the_run_go_on() -> None:
    driven = Ruled(spec(retries=3, on_failure=OnFailure.CONTINUE), spec("read_file"))
    driven.judge(ruling("deny"))
    assert [step.state for step in driven.run.steps] == [StepState.FAILED, StepState.PREPARING]


def test_an_allowed_step_asks_nobody() -> None:
    driven = Ruled()
    driven.judge(ruling("allow"))
    driven.prepare(ruling("allow", observed=True))
    driven.act(a.Apply)
    assert life(driven) == ["started", "ruled", "prepared", "ruled", "applying", "succeeded"]
    assert driven.run.state is RunState.COMPLETED


def test_a_step_that_was_to_be_asked_about_is_let_through_by_what_it_did() -> None:
    driven = Ruled()
    driven.judge(ruling("default", previews=True))
    assert driven.current.gate is Gate.EFFECT
    driven.prepare(ruling("allow", observed=True))
    driven.act(a.Apply)
    assert life(driven) == ["started", "ruled", "prepared", "ruled", "applying", "succeeded"]


def test_what_it_did_is_denied_whoever_approved_the_command() -> None:
    driven = Ruled()
    driven.judge(ruling("default"))
    driven.act(a.Propose)
    driven.decide()
    driven.prepare(ruling("deny", observed=True))
    assert life(driven)[-4:] == ["executing", "prepared", "ruled", "failed"]
    assert driven.run.state is RunState.FAILED
    driven.settle()
    assert life(driven)[-1] == "effect_discarded"
    assert driven.run.head_tree == driven.run.base_tree


def test_what_it_did_is_asked_about_after_the_command_was() -> None:
    driven = Ruled()
    driven.judge(ruling("default"))
    driven.act(a.Propose)
    driven.decide()
    driven.prepare(ruling("require", observed=True, shown=True, stages=(Stage("leads", 2, ("ada", "eve")),)))
    assert driven.current.approval is not None
    assert driven.current.approval.gate is Gate.EFFECT
    driven.decide(by="ada")
    assert driven.run.state is RunState.AWAITING_APPROVAL, "the rule wants two"
    driven.decide(by="eve")
    driven.act(a.Apply)
    assert driven.run.state is RunState.COMPLETED


def test_what_was_approved_before_it_ran_is_published_when_no_rule_minds() -> None:
    driven = Ruled()
    driven.judge(ruling("require", gate=Gate.COMMAND))
    driven.act(a.Propose)
    driven.decide()
    driven.prepare(ruling("require", observed=True, gate=Gate.COMMAND))
    driven.act(a.Apply)
    assert driven.run.state is RunState.COMPLETED
    assert life(driven).count("approval.requested") == 1


@pytest.mark.parametrize("at", [a.Propose, a.Prepare, a.Apply])
def test_another_policy_has_it_decided_about_anew(at: type[a.StepAction]) -> None:
    driven = Ruled(spec(gate="both"))
    driven.judge(ruling("default"))
    if at is not a.Propose:
        driven.act(a.Propose)
        driven.decide()
    if at is a.Apply:
        driven.prepare(ruling("default", observed=True))
        driven.decide()
    action = driven.action(at)
    changed = Failure("POLICY_CHANGED", "Another policy.")
    driven.tx(
        decide_step.action_failed(
            driven.run, driven.ctx(), action.step, action.attempt, changed, action=action
        )
    )
    assert life(driven)[-1] == "preview_superseded"
    step = driven.current
    assert (step.attempt, step.ruling, step.observed, step.judge) == (2, None, None, True)
    assert a.Judge in [type(each) for each in driven.wanted]


def test_a_policy_of_the_installation_is_asked_about_runs_without_rules() -> None:
    driven = DrivenRun([spec(), spec()], start=True)
    with_policy = Context(driven.now, lambda prefix: f"{prefix}-x", "ann", DIGEST)
    action = driven.action(a.Propose)
    changed = Failure("POLICY_CHANGED", "There is a policy now.")
    driven.tx(decide_step.action_failed(driven.run, with_policy, 1, 1, changed, action=action))
    assert driven.current.judge


def test_an_answer_nobody_waits_for_changes_nothing() -> None:
    driven = Ruled()
    driven.judge(ruling("default"))
    assert decide_step.judged(driven.run, driven.ctx(), 1, 1, ruling("deny")) == []
    driven.command("cancel")
    assert decide_step.judged(driven.run, driven.ctx(), 1, 1, ruling("deny")) == []


# -- trying another policy on what happened --------------------------------------------------------------------------


def trial(driven: DrivenRun, asked: Ruling, observed: Ruling | None = None) -> tuple[str, str, bool]:
    """What was, what would have been, and whether what it did was not there to look at."""
    step = driven.run.steps[0]
    tried = began(step, driven.run.policy, asked)
    for stored in driven.journal:
        if stored.recorded.event.step == 1:
            tried.happened(stored.recorded.event)
    if observed is not None and step.prepared is not None:
        tried.did(step, step.prepared, observed)
    return tried.was, tried.would, tried.unobserved


def test_a_backtest_says_what_would_have_been() -> None:
    driven = Ruled()
    driven.judge(ruling("allow"))
    driven.prepare(ruling("allow", observed=True))
    driven.act(a.Apply)
    seen = {"observed": True}
    assert trial(driven, ruling("allow"), ruling("allow", **seen)) == ("not asked", "not asked", False)
    assert trial(driven, ruling("default"), ruling("default", **seen)) == ("not asked", "asked", False)
    assert trial(driven, ruling("deny"), ruling("deny", **seen)) == ("not asked", "denied", False)
    assert trial(driven, ruling("allow"), ruling("deny", **seen)) == ("not asked", "denied", False)
    assert trial(driven, ruling("allow"), ruling("require", **seen)) == ("not asked", "asked", False)
    assert trial(driven, ruling("default", previews=True)) == ("not asked", "not asked", True)


def test_a_backtest_knows_what_people_said() -> None:
    driven = Ruled()
    driven.judge(ruling("default"))
    driven.act(a.Propose)
    driven.decide("reject")
    assert trial(driven, ruling("default"))[:2] == ("rejected", "asked")
    denied = Ruled()
    denied.judge(ruling("deny"))
    assert trial(denied, ruling("deny"))[:2] == ("denied", "denied")
