"""Policy files: what they say, and every mistake with its place."""

from __future__ import annotations

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.common.plan.limits import SHIPPED_POLICIES
from interlock.common.plan.model import PlanRule, PlanStage
from interlock.common.policy.document import MAX_POLICY_BYTES, check_policy, parse_policy
from interlock.common.policy.examples import try_examples
from interlock.common.policy.judge import layer_of
from interlock.common.policy.named import named_policy, shipped, shipped_text, text_of, with_included

GOOD = """
name: team
version: "1"
groups: {leads: [ada, bob]}
rules:
  - name: a
    effect: require
    when: step.kind == "run_command"
    gate: both
    quorum: 2
    stages: [{name: leads, approvers: ["group:leads"]}]
    separate_requester: true
    always: true
    reason: because
  - {name: b, effect: allow, when: "true", network: true}
examples:
  - {name: one, step: {kind: run_command, command: x}, expect: require, rule: a}
"""


def test_what_a_file_says() -> None:
    policy = parse_policy(GOOD, "team.yaml")
    assert (policy.name, policy.version, policy.source) == ("team", "1", "team.yaml")
    assert policy.rules == (
        PlanRule(
            "a",
            "require",
            'step.kind == "run_command"',
            "because",
            "both",
            (PlanStage(quorum=2), PlanStage("leads", 1, ("group:leads",))),
            separate_requester=True,
            always=True,
        ),
        PlanRule("b", "allow", "true", network=True),
    )
    assert policy.examples[0].inputs.step.argv == ["/bin/sh", "-c", "x"]


def test_the_digest_covers_what_decides_and_nothing_else() -> None:
    digest = parse_policy(GOOD).digest
    assert (
        parse_policy("# a comment\n" + GOOD.replace("expect: require", "expect: deny"), "elsewhere").digest
        == digest
    )
    assert parse_policy(GOOD + "description: other words\n").digest == digest
    for old, new in (
        ("because", "for no reason"),
        ("gate: both", "gate: effect"),
        ("always: true", "always: false"),
        ("[ada, bob]", "[ada, eve]"),
        ('version: "1"', 'version: "2"'),
        ("network: true", "network: false"),
        ("quorum: 2", "quorum: 1"),
    ):
        assert parse_policy(GOOD.replace(old, new)).digest != digest, old


def rules(*lines: str) -> str:
    return "name: x\nrules:\n" + "\n".join(f"  {line}" for line in lines) + "\n"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("", "the document is empty"),
        ("[]", "a policy is a mapping"),
        ("{name: x}", "line 1, column 1: rules: is missing"),
        ("{name: 'a b', rules: []}", "'a b' is not a policy's name"),
        ("{name: x, rules: 1}", "rules: must be a list"),
        ("{name: x, rules: [], rule: []}", "rule: is not a field here"),
        ("name: x\nrules:\n  - when: a: b", "not YAML"),
        (rules("- {name: a, effect: deny}"), "rules[0].when: is missing"),
        (rules("- {name: a, effect: no, when: 'true'}"), "rules[0].effect: is 'no'; must be one of deny"),
        (
            rules("- {name: a, effect: deny, when: 'true', gate: both}"),
            "belongs to rules with the effect require",
        ),
        (
            rules("- {name: a, effect: require, when: 'true', network: true}"),
            "belongs to rules with the effect allow",
        ),
        (rules("- {name: a, effect: require, when: 'true', gate: none}"), "gate: is 'none'"),
        (rules("- {name: a, effect: deny, when: 'true', why: x}"), "rules[0].why: is not a field here"),
        (
            rules(*["- {name: a, effect: deny, when: 'true'}"] * 2),
            "line 4, column 5: rules[1].name: 'a' is given twice",
        ),
        (
            rules("- {name: a, effect: deny, when: " + "'" + "x" * 5000 + "'}"),
            "has 5,000 bytes; at most 4,096",
        ),
        (
            rules("- {name: a, effect: require, when: 'true', stages: [{approvers: ['group:none']}]}"),
            "the rule 'a': 'group:none' is not among the policy's groups",
        ),
        (
            rules("- {name: a, effect: require, when: 'true', stages: [{approvers: [ada], quorum: 2}]}"),
            "the rule 'a': 2 people are wanted and 1 named",
        ),
        ("{name: x, rules: [], examples: [{name: e, expect: maybe}]}", "examples[0].expect: is 'maybe'"),
        ("{name: x, rules: [], examples: [{name: e, expect: deny, step: {kin: x}}]}", 'no field named "kin"'),
        (
            "{name: x, rules: [], examples: [{name: e, expect: deny, rule: a}]}",
            "there is no rule 'a' in the policy",
        ),
        (
            "{name: x, rules: [], examples: [{name: e, expect: deny, observed: {changes: [{path: a, kind: gone}]}}]}",
            "'gone' is no kind of change",
        ),
    ],
)
def test_mistakes_are_named(document: str, said: str) -> None:
    policy, problems = check_policy(document)
    assert policy is None
    assert said in "\n".join(problem.text() for problem in problems)
    assert {problem.reason for problem in problems} == {Reason.POLICY_INVALID}


@pytest.mark.parametrize(
    ("lines", "line", "column", "said"),
    [
        (["- {name: a, effect: deny, when: step.foo == 1}"], 3, 39, "undefined field 'foo'"),
        (["- {name: a, effect: deny, when: 'step.foo == 1'}"], 3, 40, "undefined field 'foo'"),
        (
            ["- name: a", "  effect: deny", "  when: 1 + 1"],
            5,
            11,
            "is INT, where a rule has to be true or false",
        ),
        (
            ["- name: a", "  effect: deny", "  when: |", "    true &&", "      nope"],
            7,
            9,
            "undeclared reference to 'nope'",
        ),
        (
            ["- name: a", "  effect: deny", "  when: >", "    true &&", "    nope"],
            5,
            11,
            "undeclared reference to 'nope'",
        ),
        (["- name: a", "  effect: deny", "  when: step.kind =="], 5, 23, "Syntax error"),
        (["- name: a", "  effect: deny", "  when: now() > 1"], 5, 14, "undeclared reference to 'now'"),
    ],
)
def test_expressions_are_checked_where_they_stand(
    lines: list[str], line: int, column: int, said: str
) -> None:
    with pytest.raises(InterlockError) as caught:
        parse_policy(rules(*lines), "team.yaml")
    error = caught.value
    assert error.reason is Reason.POLICY_INVALID
    assert error.metadata == {"line": str(line), "column": str(column), "file": "team.yaml", "rule": "a"}
    assert said in error.message
    assert error.message.startswith(f"team.yaml: line {line}, column {column}: rules[0].when: the rule 'a'")
    assert error.fix


def test_a_policy_is_bounded() -> None:
    with pytest.raises(InterlockError, match="1,048,577 bytes"):
        parse_policy("#" * (MAX_POLICY_BYTES + 1))
    many = rules(*(f"- {{name: r{n}, effect: deny, when: 'true'}}" for n in range(201)))
    with pytest.raises(InterlockError, match="201 items; must have 0 to 200"):
        parse_policy(many)


@pytest.mark.parametrize("name", SHIPPED_POLICIES)
def test_shipped_policies_say_what_their_examples_say(name: str) -> None:
    policy = shipped(name)
    assert policy.name == name
    assert len(policy.examples) >= len(policy.rules)
    wrong = [
        (t.example.name, t.verdict, t.decided) for t in try_examples(policy, layer_of(policy)) if not t.passed
    ]
    assert wrong == []
    tried = {t.decided for t in try_examples(policy, layer_of(policy))}
    untried = {rule.name for rule in policy.rules} - tried
    assert untried <= {"nothing-is-wiped", "edits-are-seen"}, "each rule decides some example"


def test_rules_that_policies_share_stand_once() -> None:
    both = with_included(["balanced", "autonomous"], [PlanRule("mine", "deny", "true")])
    names = [rule.name for rule in both]
    assert len(names) == len(set(names)) == 9 + 1 + 1
    with pytest.raises(
        InterlockError, match="Two different rules of the run's policy are named 'the-fork-is-free'"
    ):
        with_included(["autonomous"], [PlanRule("the-fork-is-free", "deny", "true")])


def test_policies_by_name(tmp_path: object) -> None:
    assert named_policy("balanced") == shipped("balanced")
    assert text_of("cautious") == shipped_text("cautious")
    for name, said in (
        ("nobodys", "is no policy that is shipped; those are cautious, balanced, autonomous"),
        (f"{tmp_path}/none.yaml", "cannot be read: No such file or directory"),
    ):
        with pytest.raises(InterlockError) as caught:
            named_policy(name)
        assert caught.value.reason is Reason.POLICY_INVALID
        assert said in caught.value.message
