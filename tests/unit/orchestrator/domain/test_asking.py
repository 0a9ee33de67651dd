"""Whether a step asks, at which gate, and whom: the one function that envelopes and policies meet in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.driven_run import DrivenRun, spec

from interlock.orchestrator.domain import asking
from interlock.orchestrator.domain.model import (
    Gate,
    Policy,
    PolicyVerdict,
    Prepared,
    RuleEffect,
    RuleHit,
    Ruling,
    Stage,
    Step,
)

DIGEST = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64
NETWORK = {"network": ["example.org:443"]}


def ruling(verdict: str, **fields: object) -> Ruling:
    return Ruling(PolicyVerdict(verdict), DIGEST, **fields)  # type: ignore[arg-type]


CHANGE = Prepared(DIGEST, DIGEST, DIGEST, DIGEST, OTHER)
NO_CHANGE = Prepared(DIGEST, DIGEST, DIGEST, DIGEST, DIGEST)


@pytest.mark.parametrize(
    ("kind", "own", "asked", "said", "gate"),
    [
        ("run_command", None, {}, ruling("default"), "command"),
        ("run_command", None, {}, ruling("default", previews=True), "effect"),
        ("run_command", "command", {}, ruling("default", previews=True), "command"),
        ("run_command", None, NETWORK, ruling("default", previews=True), "command"),
        ("run_command", None, {}, ruling("allow"), "none"),
        ("run_command", "command", {}, ruling("allow"), "command"),
        ("run_command", "both", {}, ruling("allow"), "both"),
        ("run_command", None, {}, ruling("require"), "command"),
        ("run_command", None, {}, ruling("require", gate=Gate.EFFECT), "effect"),
        ("run_command", "command", {}, ruling("require", gate=Gate.EFFECT), "both"),
        ("run_command", None, NETWORK, ruling("require", gate=Gate.EFFECT), "command"),
        ("edit_file", None, {}, ruling("require", gate=Gate.COMMAND), "effect"),
        ("edit_file", None, {}, ruling("allow"), "none"),
        ("edit_file", "effect", {}, ruling("allow"), "effect"),
        ("read_file", None, {}, ruling("allow"), "none"),
    ],
)
def test_the_gate_follows_from_what_the_rules_say(
    kind: str, own: str | None, asked: dict[str, object], said: Ruling, gate: str
) -> None:
    assert asking.gate_of(spec(kind, own, **asked), Policy(), said).value == gate


def test_a_rule_that_requires_shuts_a_gate_that_the_run_has_opened() -> None:
    open_ = Policy(run_command_gate=Gate.NONE, edit_file_gate=Gate.NONE)
    assert asking.gate_of(spec("run_command"), open_, ruling("require")) is Gate.EFFECT
    assert asking.gate_of(spec("run_command", **NETWORK), open_, ruling("require")) is Gate.COMMAND
    assert asking.gate_of(spec("edit_file"), open_, ruling("require")) is Gate.EFFECT


def test_a_gate_that_the_run_names_is_not_opened_to_look_first() -> None:
    named = Policy(named_gates=("run_command",))
    assert asking.gate_of(spec("run_command"), named, ruling("default", previews=True)) is Gate.COMMAND


def step(
    kind: str = "run_command", gate: Gate = Gate.NONE, own: str | None = None, request: str = ""
) -> Step:
    return Step(1, spec(kind, own), gate=gate, approved_request=request)


@pytest.mark.parametrize(
    ("at", "said", "asks"),
    [
        (step(gate=Gate.EFFECT), None, True),
        (step(gate=Gate.EFFECT), ruling("default"), True),
        (step(gate=Gate.EFFECT), ruling("allow"), False),
        (step(gate=Gate.EFFECT, own="effect"), ruling("allow"), True),
        (step(gate=Gate.NONE), ruling("default"), False),
        (step(gate=Gate.NONE), ruling("require"), True),
        (step(gate=Gate.COMMAND, request=DIGEST), ruling("default"), False),
        (step(gate=Gate.COMMAND, request=DIGEST), ruling("require"), False),
        (step(gate=Gate.COMMAND, request=DIGEST), ruling("require", shown=True), True),
        (step(gate=Gate.BOTH, request=DIGEST), ruling("require"), True),
        (step(gate=Gate.EFFECT), ruling("deny"), False),
    ],
)
def test_what_was_observed_decides_before_it_is_published(at: Step, said: Ruling | None, asks: bool) -> None:
    question = asking.at_effect(at, CHANGE, said)
    assert question.asks is asks
    assert (question.refused is not None) is (said is not None and said.verdict is PolicyVerdict.DENY)


def test_what_changes_nothing_is_denied_all_the_same() -> None:
    assert asking.at_effect(step("edit_file"), NO_CHANGE, ruling("deny")).refused is not None
    assert not asking.at_effect(step("edit_file", Gate.EFFECT), NO_CHANGE, ruling("require")).asks


def test_who_edits_a_step_sees_what_comes_of_it() -> None:
    assert asking.gate_of(spec("edit_file"), Policy(), ruling("allow"), edited=True) is Gate.EFFECT
    edited = replace(step("edit_file", Gate.EFFECT), edited_by="bob")
    assert asking.at_effect(edited, CHANGE, ruling("allow")).asks
    assert asking.at_effect(edited, CHANGE, ruling("deny")).refused is not None


def test_the_installations_policy_is_a_floor() -> None:
    open_ = Policy(run_command_gate=Gate.NONE, steps_may_weaken=True)
    for own in (None, "none"):
        gate = asking.gate_of(spec("run_command", own), open_, ruling("default", installed=True))
        assert gate is Gate.COMMAND
    assert asking.gate_of(spec("run_command"), open_, ruling("default")) is Gate.NONE


def test_bounds_given_in_advance_never_answer_a_rule_marked_always() -> None:
    for question in (asking.at_command(step(), None), asking.at_effect(step(), CHANGE, ruling("require"))):
        assert question.may_be_given
    always = ruling("require", always=True)
    assert not asking.at_command(step(), always).may_be_given
    assert not asking.at_effect(step(), CHANGE, always).may_be_given


def test_a_step_that_cannot_wait_is_refused_where_a_rule_wants_it_to() -> None:
    hit = RuleHit("team", "look", RuleEffect.REQUIRE)
    said = ruling("require", rules=(hit,))
    refused = asking.refusal(step("read_file"), said)
    assert refused is not None
    assert refused.reason == "POLICY_DENIED"
    assert "no gate to wait at" in refused.message
    assert asking.refusal(step("edit_file"), said) is None
    assert asking.refusal(step("read_file"), ruling("allow")) is None


def test_a_refusal_names_the_rule_that_decided() -> None:
    hits = (RuleHit("a", "other", RuleEffect.REQUIRE), RuleHit("team", "no", RuleEffect.DENY, "it is final"))
    refused = asking.refusal(step(), ruling("deny", rules=hits))
    assert refused is not None
    assert "the rule 'no' of the policy 'team' denies it: it is final" in refused.message
    assert refused.metadata == {"rule": "no", "policy": "team", "policy_digest": DIGEST}


def test_rules_add_to_those_who_decide() -> None:
    run = DrivenRun([spec()], policy=Policy(stages=(Stage("team", 1, ("ada", "bob")),))).run
    said = ruling(
        "require", stages=(Stage("", 2, ("bob", "ada")), Stage("sec", 1, ("eve",))), separate_requester=True
    )
    who = asking.deciders(run, Step(1, spec(), ruling=said))
    assert who.stages == (Stage("team", 2, ("ada", "bob")), Stage("sec", 1, ("eve",)))
    assert who.separate_requester
    assert asking.deciders(run, Step(1, spec())).stages == run.policy.stages
