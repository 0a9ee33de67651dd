from __future__ import annotations

import json

import pytest

from interlock.common.plan import PlanStage, check_plan, parse_plan
from interlock.common.plan.dump import dump_json, dump_yaml
from interlock.common.plan.wire import plan_policy, policy_message

STEPS = "steps: [{run_command: {command: 'true'}}]"
PLAN = f"""
goal: g
policy:
  stages:
    - {{name: team, quorum: 2, approvers: ["group:core", eve@example.org]}}
    - {{approvers: [sec]}}
    - {{}}
  groups: {{core: [ada, bob]}}
  separate_requester: true
  remind_every: 4h
  escalate_after: 1500ms
  escalate_to: ["group:core", lea]
{STEPS}
"""


def test_who_has_to_approve_is_read() -> None:
    policy = parse_plan(PLAN).policy
    assert policy is not None
    assert policy.stages == (
        PlanStage("team", 2, ("group:core", "eve@example.org")),
        PlanStage(approvers=("sec",)),
        PlanStage(),
    )
    assert policy.groups == {"core": ("ada", "bob")}
    assert policy.separate_requester
    assert (policy.remind_every_ms, policy.escalate_after_ms) == (4 * 3_600_000, 1500)
    assert policy.escalate_to == ("group:core", "lea")
    assert plan_policy(policy_message(policy)) == policy


def test_it_is_written_as_it_is_read() -> None:
    plan = parse_plan(PLAN)
    assert parse_plan(dump_yaml(plan)) == plan
    assert parse_plan(dump_json(plan)) == plan
    assert json.loads(dump_json(plan))["policy"]["stages"][0]["quorum"] == 2


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("{stages: 1}", "policy.stages: must be a list"),
        ("{stages: [1]}", "policy.stages[0]: must be a mapping"),
        ("{stages: [{quorum: 0}]}", "policy.stages[0].quorum: is 0; must be from 1 to 20"),
        ("{stages: [{people: [ada]}]}", "policy.stages[0]: has the unknown key 'people'"),
        ("{stages: [{approvers: []}]}", "policy.stages[0].approvers: has 0 items"),
        ("{stages: [{approvers: ['a b']}]}", "policy.stages[0].approvers[0]"),
        ("{groups: {'a b': [ada]}}", "policy.groups: the key 'a b'"),
        ("{remind_every: 500ms}", "policy.remind_every"),
        ("{escalate_after: 31d}", "policy.escalate_after"),
        ("{escalate_to: []}", "policy.escalate_to: has 0 items"),
        ("{separate_requester: maybe}", "policy.separate_requester: must be true or false"),
    ],
)
def test_what_is_wrong_is_named(policy: str, said: str) -> None:
    plan, problems = check_plan(f"goal: g\npolicy: {policy}\n{STEPS}")
    assert plan is None
    assert any(said in f"{each.field}: {each.message}" for each in problems), problems
