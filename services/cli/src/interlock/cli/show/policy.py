"""Policies, what rules said, and what they would have said."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from interlock.cli.output import message_dict, show_one, write_json, write_table
from interlock.cli.safe import escape
from interlock.cli.settings import Output, Settings
from interlock.cli.text import counted, enum_text, short_digest
from interlock.cli.values import bad_value, parse_duration
from interlock.common.clock import SystemClock
from interlock.v1.policy_pb2 import PolicyRule, RuleEffect
from interlock.v1.rules_pb2 import (
    BacktestPolicyResponse,
    BacktestStep,
    GetPolicyResponse,
    PolicyVerdict,
    Ruling,
)

if TYPE_CHECKING:
    from interlock.common.plan.problems import Problem
    from interlock.common.policy.examples import Tried
    from interlock.common.policy.model import PolicyDocument


def show_problems(
    settings: Settings, name: str, found: PolicyDocument | None, problems: Sequence[Problem]
) -> None:
    """What is wrong with a policy, or that nothing is."""
    if settings.output is not Output.TABLE:
        listed = [
            {"field": p.field, "message": p.message, "fix": p.fix, "line": p.line, "column": p.column}
            for p in problems
        ]
        digest = found.digest if found is not None else ""
        write_json({"valid": found is not None, "digest": digest, "problems": listed}, settings.output)
    elif found is not None:
        of = f"{counted(len(found.rules), 'rule')}, {counted(len(found.examples), 'example')}"
        print(escape(f"Valid: {found.name} {found.version}".rstrip() + f", {of}, {found.digest}."))
    for problem in problems if settings.output is Output.TABLE else ():
        fix = f". {problem.fix}" if problem.fix else ""
        print(escape(f"{name}: {problem.text()}{fix}"), file=sys.stderr)


def show_tried(settings: Settings, policy: PolicyDocument, tried: Sequence[Tried]) -> None:
    """The examples of a policy and what came of them."""
    failed = sum(not each.passed for each in tried)
    if settings.output is not Output.TABLE:
        listed = [
            {
                "name": each.example.name,
                "passed": each.passed,
                "expected": each.example.expect.value,
                "expectedRule": each.example.rule,
                "verdict": each.verdict.value,
                "rule": each.decided,
                "problem": each.problem,
            }
            for each in tried
        ]
        write_json({"policy": policy.name, "failed": failed, "examples": listed}, settings.output)
        return
    rows = [
        ("ok" if each.passed else "FAILED", each.example.name, _wanted(each), _said(each)) for each in tried
    ]
    if rows:
        write_table(("", "EXAMPLE", "EXPECTED", "SAID"), rows)
    print(f"{counted(len(tried), 'example')}, {failed} failed.", file=sys.stderr)


def _wanted(tried: Tried) -> str:
    rule = f" by {tried.example.rule}" if tried.example.rule else ""
    return f"{tried.example.expect.value}{rule}"


def _said(tried: Tried) -> str:
    rule = f" by {tried.decided}" if tried.decided else ""
    return f"{tried.verdict.value}{rule}" + (f" ({tried.problem})" if tried.problem else "")


def show_in_force(settings: Settings, found: GetPolicyResponse) -> None:
    """What is in force."""
    show_one(settings, found, lambda: _in_force(found))


def _in_force(found: GetPolicyResponse) -> None:
    if found.HasField("installation"):
        ref = found.installation.ref
        print(escape(f"The installation's: {ref.name} {ref.version}".rstrip() + f", {ref.digest}"))
        _rules(found.installation.rules)
    else:
        print("The installation has no policy: edits wait with their effect, commands before they run.")
    if found.HasField("run"):
        own = f"{found.run.name} {found.run.version}".rstrip()
        print(escape(f"The run's own: {own}, {counted(len(found.run.rules), 'rule')}"))
        _rules(found.run.rules)
    if found.digest:
        print(f"In force: {found.digest}")


def _rules(rules: Sequence[PolicyRule]) -> None:
    rows = [
        (each.name, enum_text(RuleEffect, each.effect).lower(), " ".join(each.when.split())) for each in rules
    ]
    if rows:
        write_table(("RULE", "EFFECT", "WHEN"), rows)


def since_time(text: str) -> Timestamp:
    """A span before now, or a time."""
    out = Timestamp()
    if re.match(r"\d{4}-", text):
        try:
            out.FromJsonString(text)
        except ValueError:
            raise bad_value(
                "since", f"{text[:80]!r} is not a time.", "Write 2026-11-22T12:00:00Z, or 12h, 7d."
            ) from None
        return out
    seconds = parse_duration(text, "since") or 0.0
    out.FromDatetime(SystemClock().now() - timedelta(seconds=min(seconds, 10 * 365 * 86400.0)))
    return out


async def show_backtest(settings: Settings, messages: AsyncIterator[BacktestPolicyResponse]) -> None:
    """The steps that would have been decided otherwise, and the sum."""
    steps: list[BacktestStep] = []
    async for message in messages:
        if settings.output is Output.JSONL:
            write_json(message_dict(message), settings.output)
        elif message.HasField("step"):
            steps.append(message.step)
        elif settings.output is Output.JSON:
            summary = message_dict(message.summary)
            write_json({"steps": [message_dict(step) for step in steps], "summary": summary}, settings.output)
        else:
            _table(steps, message)


def _table(steps: Sequence[BacktestStep], message: BacktestPolicyResponse) -> None:
    sum_ = message.summary
    if steps:
        write_table(
            ("RUN", "STEP", "WAS", "WOULD BE", "BY", "WHAT"),
            [
                (each.run_id, f"{each.step}/{each.attempt}", each.was, _would(each), _by(each), each.title)
                for each in steps
            ],
        )
    more = "; there are more runs, raise --max-runs" if sum_.more else ""
    print(
        f"{counted(sum_.steps, 'decision')} of {counted(sum_.runs, 'run')}: {sum_.differs} would differ "
        f"({sum_.newly_denied} denied, {sum_.newly_asked} asked, {sum_.newly_allowed} not asked){more}.",
        file=sys.stderr,
    )


def _would(step: BacktestStep) -> str:
    return f"{step.would} (effect not known)" if step.unobserved else step.would


def _by(step: BacktestStep) -> str:
    return step.ruling.rules[0].rule if step.ruling.rules else ""


def ruling_lines(ruling: Ruling) -> list[str]:
    """What the rules said about a step: the verdict and the rules behind it. Not escaped."""
    when = "over what it did" if ruling.observed else "before it began"
    named = ", ".join(f"{each.name} {each.version}".rstrip() for each in ruling.policies)
    verdict = enum_text(PolicyVerdict, ruling.verdict).lower()
    lines = [f"{verdict} {when}, by {named} ({short_digest(ruling.digest)})"]
    for hit in ruling.rules:
        why = f": {hit.reason}" if hit.reason else ""
        problem = f" (could not be evaluated: {hit.problem})" if hit.problem else ""
        lines.append(f"{enum_text(RuleEffect, hit.effect).lower()} by {hit.policy}/{hit.rule}{why}{problem}")
    return lines
