"""Policies in force, on a real executor: what goes through, what asks, what is refused, and what is on record."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.support.orchestrator import orchestrator
from tests.support.stack import (
    BOTH,
    COMMAND,
    EFFECT,
    NONE,
    ExecutorProcess,
    Stack,
    command,
    edit,
    interlock_on,
    open_place,
)

from interlock.common.addresses import parse_address
from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.common.policy.document import parse_policy
from interlock.common.policy.named import shipped, shipped_text
from interlock.orchestrator.store.schema import payloads
from interlock.v1 import decision_pb2, policy_pb2, rules_pb2, run_pb2, step_pb2
from interlock.v1 import orchestrator_pb2 as o

CONTINUE = step_pb2.ON_FAILURE_CONTINUE
DENY, REQUIRE = policy_pb2.RULE_EFFECT_DENY, policy_pb2.RULE_EFFECT_REQUIRE
ALLOWED = rules_pb2.POLICY_VERDICT_ALLOW
REQUIRED = rules_pb2.POLICY_VERDICT_REQUIRE


def rule(
    name: str, when: str, effect: policy_pb2.RuleEffect.ValueType = DENY, **more: Any
) -> policy_pb2.PolicyRule:
    return policy_pb2.PolicyRule(name=name, effect=effect, when=when, **more)


@pytest.fixture(name="executor")
async def fixture_executor() -> AsyncIterator[ExecutorProcess]:
    with open_place() as place:
        executor = ExecutorProcess(place)
        try:
            await executor.start()
            yield executor
        finally:
            await executor.close()


@pytest.fixture
def live(executor: ExecutorProcess) -> Path:
    directory = executor.place / "live"
    directory.mkdir()
    (directory / "a.md").write_text("one\n")
    (directory / "a.py").write_text("one\n")
    return directory


def rules_of(step: step_pb2.Step) -> list[str]:
    return [hit.rule for hit in step.rulings[-1].rules]


async def events(both: Stack, run_id: str, type_: str) -> list[dict[str, Any]]:
    answer = await both.stub.ListEvents(o.ListEventsRequest(run_id=run_id, page_size=500))
    return [json.loads(each.canonical_json)["data"] for each in answer.events if each.type == type_]


async def tried(
    both: Stack, document: str, **more: Any
) -> tuple[list[rules_pb2.BacktestStep], rules_pb2.BacktestSummary]:
    steps, summary = [], rules_pb2.BacktestSummary()
    with rpc_errors("orchestrator"):
        async for message in both.stub.BacktestPolicy(
            rules_pb2.BacktestPolicyRequest(document=document, **more)
        ):
            if message.HasField("step"):
                steps.append(message.step)
            else:
                summary = message.summary
    return steps, summary


READS = """
name: reads
version: "1"
rules:
  - {name: keys, effect: deny, when: 'step.path.matchesAny(["keys/"])'}
  - {name: seen, effect: require, when: 'step.kind == "read_file" && observed.read.anyMatch(["*.lock"])'}
"""


async def test_a_link_does_not_dodge_a_rule_about_what_is_read(
    executor: ExecutorProcess, live: Path, database_url: str
) -> None:
    for name, target in (("keys/secret", "TOP SECRET\n"), ("a.lock", "LOCKED\n")):
        (live / name).parent.mkdir(exist_ok=True)
        (live / name).write_text(target)
    (live / "innocent").symlink_to("keys")
    (live / "notes.md").symlink_to("a.lock")
    async with orchestrator(
        database_url, parse_address(executor.address), policy=parse_policy(READS)
    ) as running:
        both = Stack(running, executor)
        paths = ["keys/secret", "innocent/secret", "notes.md", "a.md"]
        run_id = await both.run(
            await executor.workspace(live), *(read(path, on_failure=CONTINUE) for path in paths), policy=None
        )
        run = await both.until(run_id, "COMPLETED")
        assert [step.failure.reason for step in run.steps] == ["POLICY_DENIED"] * 3 + [""]
        assert rules_of(run.steps[1]) == ["keys"]
        bodies = await running.deps.database.all(select(payloads.c.body))
    kept = b"".join(bytes(row[0]) for row in bodies)
    assert b"one\n" in kept
    assert b"TOP SECRET" not in kept
    assert b"LOCKED" not in kept


def read(path: str, **more: Any) -> step_pb2.StepSpec:
    asked = step_pb2.ReadFileInput(path=path)
    return step_pb2.StepSpec(input=step_pb2.StepInput(read_file=asked), **more)


async def test_balanced(executor: ExecutorProcess, live: Path, database_url: str) -> None:
    """What changes nothing and what is documentation goes through; the rest asks with its effect; and the backtest."""
    async with orchestrator(
        database_url, parse_address(executor.address), policy=shipped("balanced")
    ) as running:
        both = Stack(running, executor)
        run_id = await both.run(
            await executor.workspace(live),
            command("cat a.py", name="look"),
            edit("a.md", "two\n", name="document"),
            command("echo two > a.py", name="change"),
            command("mkdir .git; echo x > .git/config", name="meddle", on_failure=CONTINUE),
            command("rm a.md", name="remove", on_failure=CONTINUE),
            policy=None,
        )
        shown = await both.pending(run_id)
        assert (shown.step, shown.gate) == (3, EFFECT), "it ran in a fork instead of being asked about unseen"
        assert shown.ruling.policies[0].name == "balanced"
        assert shown.ruling.verdict == rules_pb2.POLICY_VERDICT_DEFAULT
        assert (live / "a.md").read_text() == "two\n"
        await both.decide(shown)
        removal = await both.pending(run_id)
        assert (removal.step, removal.ruling.verdict, removal.ruling.always) == (5, REQUIRED, True)
        assert [hit.reason for hit in removal.ruling.rules] == ["Something would be gone."]
        await both.decide(removal, reject=decision_pb2.Reject(action=decision_pb2.REJECT_ACTION_SKIP_STEP))
        run = await both.until(run_id, "COMPLETED")
        look, document, _, meddle, _ = run.steps
        assert [each.rulings[-1].verdict for each in (look, document)] == [ALLOWED, ALLOWED]
        assert (look.approval_id, document.approval_id) == ("", "")
        assert meddle.failure.reason == "POLICY_DENIED"
        assert rules_of(meddle) == ["version-control-is-left-alone"]
        assert not (live / ".git").exists()
        assert (live / "a.md").exists()
        await on_record(both, run_id, document)
        await backtested(both, run_id)
        await on_the_command_line(both, run_id)


async def on_record(both: Stack, run_id: str, step: step_pb2.Step) -> None:
    """The journal has what was decided and over what; the digest of the policy is in what was asked of the executor."""
    ruled = await events(both, run_id, "step.ruled")
    assert len(ruled) == 10, "twice for each of five steps"
    first = ruled[0]["ruling"]
    assert (
        first["digest"]
        == step.rulings[0].digest
        == (await both.stub.GetPolicy(rules_pb2.GetPolicyRequest())).digest
    )
    kept = await both.orchestrator.deps.payloads.need([each["ruling"]["inputs_payload"] for each in ruled])
    inputs = [rules_pb2.PolicyInputs.FromString(body) for body in kept.values()]
    interlock = interlock_on(both, both.executor.place)
    assert (await interlock("journal", "verify", run_id)).startswith("Verified"), (
        "by whoever has the file alone"
    )
    assert inputs[0].step.command == "cat a.py"
    assert ["a.md"] in [list(each.observed.modified) for each in inputs]


async def on_the_command_line(both: Stack, run_id: str) -> None:
    interlock = interlock_on(both, both.executor.place)
    shown = await interlock("policy", "show", "-o", "json")
    assert shown["installation"]["ref"]["name"] == "balanced"
    assert "looking-around-is-free" in await interlock("policy", "show", "--run", run_id)
    assert "allowed by documentation-is-free" in await interlock("run", "get", run_id)
    assert "deny by balanced/version-control-is-left-alone" in await interlock("step", "show", run_id, "4")
    said = await interlock("policy", "backtest", "cautious", "--since", "1h")
    assert "commands-are-seen-twice" in said
    assert "5 decisions of 1 run: 2 would differ (0 denied, 2 asked, 0 not asked)." in said
    listed = await interlock("policy", "backtest", "cautious", "--run", run_id, "--all", "-o", "json")
    assert [len(listed["steps"]), listed["summary"]["differs"]] == [5, 2]
    assert "0 decisions of 0 runs" in await interlock(
        "policy", "backtest", "cautious", "--since", "2999-01-01T00:00:00Z"
    )
    assert "is not a time" in await interlock("policy", "backtest", "cautious", "--since", "2999-01", code=2)


async def backtested(both: Stack, run_id: str) -> None:
    same, summary = await tried(both, shipped_text("balanced"))
    assert (same, summary.steps, summary.runs) == ([], 5, 1)
    strict, summary = await tried(both, shipped_text("cautious"), run_ids=[run_id])
    assert [(each.step, each.was, each.would) for each in strict] == [
        (1, "not asked", "asked"),
        (2, "not asked", "asked"),
    ]
    assert (summary.differs, summary.newly_asked, summary.policy.name) == (2, 2, "cautious")
    again, _ = await tried(both, shipped_text("cautious"), run_ids=[run_id])
    assert again == strict
    whole, _ = await tried(both, shipped_text("cautious"), all=True)
    assert [(each.step, each.was, each.would) for each in whole][2:] == [
        (3, "asked", "asked"),
        (4, "denied", "denied"),
        (5, "rejected", "asked"),
    ]


async def test_another_policy_between_preview_and_publication(
    executor: ExecutorProcess, live: Path, database_url: str
) -> None:
    """What was approved under one policy is not published under another, which decides anew."""
    ask = parse_policy(
        "{name: team, version: '1', rules: [{name: ask, effect: require, when: 'true', gate: effect}]}"
    )
    deny = parse_policy(
        "{name: team, version: '2', rules: [{name: no, effect: deny, when: 'observed.modified.size() > 0'}]}"
    )
    at = parse_address(executor.address)
    async with orchestrator(database_url, at, policy=ask) as running:
        both = Stack(running, executor)
        run_id = await both.run(
            await executor.workspace(live), command("echo two > a.py", gate=BOTH), policy=None
        )
        asked = await both.pending(run_id)
        assert asked.gate == COMMAND
        await both.decide(asked)
        before = await both.pending(run_id)
        while before.gate != EFFECT:
            before = await both.pending(run_id)
    async with orchestrator(database_url, at, policy=deny) as running:
        both = Stack(running, executor)
        await both.decide(before)
        after = await both.pending(run_id, replaces=asked.approval_id)
        assert (after.gate, after.ruling.policies[0].version) == (COMMAND, "2")
        assert after.digest != asked.digest
        assert (live / "a.py").read_text() == "one\n", "nothing of it was published"
        assert (await both.approval(before.approval_id)).state == decision_pb2.APPROVAL_STATE_SUPERSEDED
        await both.decide(after)
        run = await both.until(run_id, "FAILED")
        assert run.steps[0].failure.reason == "POLICY_DENIED"
        assert (live / "a.py").read_text() == "one\n"
        [superseded] = await events(both, run_id, "step.preview_superseded")
        assert superseded["reason"] == "POLICY_CHANGED"


async def test_a_run_of_its_own_rules(executor: ExecutorProcess, live: Path, database_url: str) -> None:
    """Rules of a run hold without an installation's; with one, the stricter of the two holds."""
    at = parse_address(executor.address)
    mine = policy_pb2.Policy(
        name="mine",
        rules=[
            rule("free", "true", policy_pb2.RULE_EFFECT_ALLOW),
            rule("not-this", 'step.path.matchesAny(["*.py"])', reason="not programs"),
            rule("never-read", 'step.kind == "read_file"', REQUIRE),
        ],
    )
    specs = [
        command("echo two > b.txt"),
        edit("a.py", "two\n", on_failure=CONTINUE),
        step_pb2.StepSpec(
            input=step_pb2.StepInput(read_file=step_pb2.ReadFileInput(path="a.md")), on_failure=CONTINUE
        ),
    ]
    async with orchestrator(database_url, at) as running:
        both = Stack(running, executor)
        run_id = await both.run(await executor.workspace(live), *specs, policy=mine)
        run = await both.until(run_id, "COMPLETED")
        assert (live / "b.txt").exists()
        assert [each.failure.reason for each in run.steps[1:]] == ["POLICY_DENIED", "POLICY_DENIED"]
        assert "not programs" in run.steps[1].failure.message
        assert "no gate to wait at" in run.steps[2].failure.message
        assert [each.name for each in run.policy.rules] == ["free", "not-this", "never-read"]
    async with orchestrator(database_url, at, policy=shipped("cautious")) as running:
        both = Stack(running, executor)
        stricter = await both.run(run.workspace_id, command("echo three > b.txt"), policy=mine)
        shown = await both.pending(stricter)
        assert shown.gate == COMMAND, "the installation asks, whatever the run allows"
        assert {each.name for each in shown.ruling.policies} == {"cautious", "mine"}
        await refused(both, run)


async def refused(both: Stack, run: run_pb2.Run) -> None:
    """Policies that cannot be used, or would open what the installation's keeps shut."""
    for policy, reason, field in (
        (policy_pb2.Policy(run_command_gate=NONE), Reason.INVALID_ARGUMENT, "policy.run_command_gate"),
        (policy_pb2.Policy(steps_may_weaken=True), Reason.INVALID_ARGUMENT, "policy.steps_may_weaken"),
        (
            policy_pb2.Policy(rules=[rule("bad", "step.foo == 1")]),
            Reason.POLICY_INVALID,
            "policy.rules[0].when",
        ),
        (policy_pb2.Policy(include=["nobodys"]), Reason.POLICY_INVALID, ""),
        (
            policy_pb2.Policy(rules=[rule("a", "true"), rule("a", "false")]),
            Reason.POLICY_INVALID,
            "policy.rules",
        ),
    ):
        with pytest.raises(InterlockError) as caught:
            await both.run(run.workspace_id, command("true"), policy=policy)
        assert (caught.value.reason, caught.value.field) == (reason, field), caught.value
    with pytest.raises(InterlockError) as wrong:
        await tried(both, "{name: x, rules: [{name: a, effect: deny, when: 'observed.nope'}]}")
    assert wrong.value.reason is Reason.POLICY_INVALID
    assert wrong.value.metadata["rule"] == "a"
    assert (wrong.value.metadata["line"], wrong.value.metadata["column"]) == ("1", "58")
