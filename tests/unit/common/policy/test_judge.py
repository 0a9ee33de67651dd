"""What rules come to: precedence, two policies at once, and rules that cannot be evaluated."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.common.plan.model import PlanRule, PlanStage
from interlock.common.policy.facts import summarise
from interlock.common.policy.judge import Layer, digest_of, judge, layer_of
from interlock.common.policy.language import (
    BadExpression,
    CannotEvaluate,
    activation,
    compile_expression,
    evaluate,
)
from interlock.common.policy.model import PolicyDocument, Verdict
from interlock.v1 import rules_pb2

_ORDER = ["deny", "require", "default", "allow"]


def rule(effect: str, when: str = "true", name: str = "", **more: object) -> PlanRule:
    return PlanRule(name or effect, effect, when, **more)  # type: ignore[arg-type]


def layer(*rules: PlanRule, name: str = "p", **groups: tuple[str, ...]) -> Layer:
    return layer_of(PolicyDocument(name, rules=rules, groups=groups))


def inputs(
    command: str = "x", *changes: tuple[str, str], ran: bool = False, **step: object
) -> rules_pb2.PolicyInputs:
    found = rules_pb2.PolicyInputs(step=rules_pb2.PolicyStep(kind="run_command", command=command, **step))  # type: ignore[arg-type]
    if changes or ran:
        found.observed.complete = True
        for kind, path in changes:
            found.observed.changes.add(kind=kind, path=path)
        summarise(found.observed)
    return found


@given(st.lists(st.sampled_from(["deny", "require", "allow"]), max_size=6))
def test_deny_before_require_before_allow(effects: list[str]) -> None:
    rules = [rule(effect, name=f"r{n}") for n, effect in enumerate(effects)]
    finding = judge([layer(*rules)], inputs())
    assert finding.verdict.value == min(effects or ["default"], key=_ORDER.index)
    assert [hit.rule.effect for hit in finding.hits] == sorted(effects, key=_ORDER.index)


@pytest.mark.parametrize(("one", "other"), list(itertools.product(_ORDER, repeat=2)))
def test_of_two_policies_the_stricter_holds(one: str, other: str) -> None:
    def policy(effect: str, name: str) -> Layer:
        return layer(rule("allow", "false") if effect == "default" else rule(effect), name=name)

    expected = min((one, other), key=_ORDER.index)
    for names in (("installed", "run"), ("same", "same")):
        found = judge([policy(one, names[0]), policy(other, names[1])], inputs())
        assert found.verdict.value == expected


def test_no_policy_opens_a_gate_that_the_run_names() -> None:
    assert judge([layer(rule("allow"))], inputs(), named_gate=True).verdict is Verdict.DEFAULT
    assert judge([layer(rule("deny"))], inputs(), named_gate=True).verdict is Verdict.DENY


def test_no_rules_decide_nothing() -> None:
    assert judge([], inputs()).verdict is Verdict.DEFAULT
    assert judge([layer()], inputs()).verdict is Verdict.DEFAULT
    assert digest_of([]) == ""
    assert digest_of([layer(rule("deny"))]) != digest_of([layer(rule("allow"))])


def test_an_allow_is_about_network_only_where_it_says_so() -> None:
    asks = inputs(network=["h:1"])
    assert judge([layer(rule("allow"))], asks).verdict is Verdict.DEFAULT
    assert judge([layer(rule("allow", network=True))], asks).verdict is Verdict.ALLOW


def test_rules_about_what_was_observed_wait_for_it() -> None:
    guard = layer(rule("deny", 'observed.deleted.exists(p, p == "a")'), rule("allow", 'step.command == "x"'))
    before = judge([guard], inputs())
    assert (before.verdict, before.previews, before.observed) == (Verdict.ALLOW, True, False)
    after = judge([guard], inputs("x", ("deleted", "a")))
    assert (after.verdict, after.observed) == (Verdict.DENY, True)
    assert [hit.observed for hit in after.hits] == [True, False]
    assert judge([guard], inputs("x", ("added", "b"))).verdict is Verdict.ALLOW
    assert not judge([layer(rule("deny", "step.number == 7"))], inputs()).previews


def test_what_cannot_be_seen_whole_is_asked_about() -> None:
    seen = inputs(ran=True)
    seen.observed.complete = False
    guard = layer(rule("deny", "observed.deleted.size() > 0"), rule("allow"))
    found = judge([guard], seen)
    assert (found.verdict, found.shown, found.hits[0].rule.name) == (
        Verdict.REQUIRE,
        True,
        "more-than-was-listed",
    )
    assert judge([layer(rule("allow"))], seen).verdict is Verdict.ALLOW, "no rule looks"


@pytest.mark.parametrize("effect", ["deny", "require", "allow"])
@pytest.mark.parametrize(
    "when",
    ['step.argv[9] == "a"', '"a".matches("(")', "observed.paths[0] == ''", 'step.path.matchesAny([""])'],
)
def test_a_rule_that_cannot_be_evaluated_counts_unless_it_allows(effect: str, when: str) -> None:
    found = judge([layer(rule(effect, when))], inputs(ran=True))
    assert found.verdict.value == ("default" if effect == "allow" else effect)
    assert bool(found.hits) is (effect != "allow")
    if found.hits:
        assert found.hits[0].problem


def test_evaluation_ends() -> None:
    wide = inputs("x", *(("added", f"f{n}") for n in range(1000)))
    endless = "observed.paths.all(a, observed.paths.all(b, observed.paths.all(c, a + b != c)))"
    with pytest.raises(CannotEvaluate, match="budget"):
        evaluate(compile_expression(endless), activation(wide))
    assert judge([layer(rule("deny", endless))], wide).verdict is Verdict.DENY


def test_what_is_required_comes_together() -> None:
    guard = layer(
        rule(
            "require",
            name="a",
            gate="command",
            stages=(PlanStage("x", 2, ("group:core", "eve")),),
            always=True,
        ),
        rule("require", name="b", gate="effect", separate_requester=True),
        rule("require", "false", name="c", stages=(PlanStage("never", 1, ("mallory",)),)),
        core=("ada", "bob"),
    )
    found = judge([guard], inputs())
    assert (found.gate, found.always, found.separate_requester, found.shown) == ("both", True, True, True)
    assert found.stages == (PlanStage("x", 2, ("ada", "bob", "eve")),)
    denied = judge([guard, layer(rule("deny"), name="q")], inputs())
    assert (denied.stages, denied.gate, denied.always) == ((), "", False)


def test_the_same_inputs_get_the_same_finding() -> None:
    guard = layer(rule("require", "observed.paths.anyMatch(['a'])"), rule("allow", "run.labels.size() == 2"))
    asked = inputs("x", ("modified", "a"))
    asked.run.labels.update({"b": "1", "a": "2"})
    again = rules_pb2.PolicyInputs.FromString(asked.SerializeToString(deterministic=True))
    assert judge([guard], asked) == judge([guard], again)


@pytest.mark.parametrize(
    "text", ["", "step", "step.kind", "1", "null", "true ? 1 : 2", "timestamp(now)", "!" * 9]
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(BadExpression):
        compile_expression(text)


def test_lists_follow_from_changes() -> None:
    observed = rules_pb2.PolicyObserved()
    for change in (
        {"kind": "added", "path": "new", "new_mode": 0o755, "new_size": 3, "new_type": "file"},
        {"kind": "added", "path": "dir", "new_mode": 0o755, "new_type": "directory"},
        {"kind": "added", "path": "link", "new_mode": 0o777, "new_type": "symlink"},
        {"kind": "deleted", "path": "gone", "old_mode": 0o644, "old_size": 5},
        {"kind": "renamed", "path": "to", "old_path": "from", "old_mode": 0o644, "new_mode": 0o755},
        {"kind": "modified", "path": "cut", "old_mode": 0o644, "new_mode": 0o644, "old_size": 7},
        {
            "kind": "mode_changed",
            "path": "run",
            "old_mode": 0o644,
            "new_mode": 0o744,
            "old_size": 1,
            "new_size": 1,
        },
        {"kind": "modified", "path": "swap", "old_type": "file", "new_type": "directory", "old_size": 2},
    ):
        observed.changes.add(**change)  # type: ignore[arg-type]
    summarise(observed)
    assert set(observed.deleted) == {"gone", "from", "swap"}
    assert set(observed.added) == {"new", "dir", "link", "to"}
    assert list(observed.emptied) == ["cut"]
    assert list(observed.links) == ["link"]
    assert set(observed.made_executable) == {"new", "to", "run"}
    assert set(observed.mode_changed) == {"to", "run"}
    assert {"from", "to"} <= set(observed.paths)
    assert (observed.bytes_written, observed.bytes_removed, observed.paths_total) == (3, 14, 8)
