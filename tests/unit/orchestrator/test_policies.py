"""Which groups of a provider a policy may name."""

from __future__ import annotations

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.common.policy.document import parse_policy
from interlock.orchestrator.domain.model import Group, Policy, Rule, RuleEffect, Stage
from interlock.orchestrator.policies import Policies

LEADS = ("provider:leads",)
RULE = Rule("r", RuleEffect.REQUIRE, "true", stages=(Stage("", 1, LEADS),))
INSTALLED = """
name: team
groups: {all: [ada, "provider:leads"]}
rules: [{name: r, effect: require, when: "true", stages: [{approvers: ["group:all"]}]}]
"""


@pytest.mark.parametrize(
    "policy",
    [
        Policy(stages=(Stage("", 1, LEADS),)),
        Policy(groups=(Group("all", LEADS),)),
        Policy(escalate_us=1, escalate_to=LEADS),
        Policy(rules=(RULE,)),
    ],
)
def test_a_group_that_the_provider_is_not_asked_for_is_refused(policy: Policy) -> None:
    Policies(provider_groups=frozenset({"leads"})).check(policy)
    with pytest.raises(InterlockError) as caught:
        Policies(provider_groups=frozenset({"sec"})).check(policy)
    assert caught.value.reason is Reason.INVALID_ARGUMENT
    assert "leads=GROUP" in caught.value.fix


def test_the_installation_does_not_start_with_one() -> None:
    document = parse_policy(INSTALLED)
    Policies(document, provider_groups=frozenset({"leads"}))
    Policies(document)  # a backtest asks nobody
    with pytest.raises(InterlockError) as caught:
        Policies(document, provider_groups=frozenset())
    assert caught.value.reason is Reason.POLICY_INVALID
