"""The examples that a policy brings: some steps, and what it is to say about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from google.protobuf import json_format

from interlock.common.plan.nodes import Node
from interlock.common.plan.problems import Problems
from interlock.common.plan.values import Choice, ListOf, Schema, Text, refuse
from interlock.common.policy.facts import KINDS, summarise
from interlock.common.policy.judge import Layer, judge
from interlock.common.policy.model import Example, PolicyDocument, Verdict
from interlock.v1 import rules_pb2

MAX_EXAMPLES: Final = 500
_INPUTS: Final = ("step", "run", "caller", "observed")
_EXPECT: Final = Choice(tuple(verdict.value for verdict in Verdict))
_NAME: Final = Text(min_chars=1, max_chars=200)


@dataclass(frozen=True)
class ExampleValue:
    """One example: its name, the variables that matter, and the verdict to expect."""

    def schema(self) -> Schema:
        inputs = {name: {"type": "object"} for name in _INPUTS}
        return {
            "type": "object",
            "properties": {
                "name": _NAME.schema(),
                **inputs,
                "expect": _EXPECT.schema(),
                "rule": {"type": "string"},
            },
            "required": ["name", "expect"],
            "additionalProperties": False,
        }

    def read(self, node: Node, path: str, problems: Problems) -> Example:
        if not isinstance(node.value, dict):
            raise refuse(node, path, problems, f"an example is a mapping, not {node.kind()}")
        given = node.value
        known = ("name", *_INPUTS, "expect", "rule")
        for key in given:
            if key not in known:
                message = f"is not a field here; known are {', '.join(known)}"
                raise refuse(given[key], f"{path}.{key[:80]}", problems, message)
        for key in ("name", "expect"):
            if key not in given:
                raise refuse(node, f"{path}.{key}", problems, "is missing")
        return Example(
            _NAME.read(given["name"], f"{path}.name", problems),
            _inputs(node, path, problems),
            Verdict(_EXPECT.read(given["expect"], f"{path}.expect", problems)),
            _NAME.read(given["rule"], f"{path}.rule", problems) if "rule" in given else "",
        )


EXAMPLES: Final = ListOf(ExampleValue(), MAX_EXAMPLES)


def _inputs(node: Node, path: str, problems: Problems) -> rules_pb2.PolicyInputs:
    assert isinstance(node.value, dict)
    data = {key: plain(item) for key, item in node.value.items() if key in _INPUTS}
    try:
        inputs = json_format.ParseDict(data, rules_pb2.PolicyInputs())
    except json_format.ParseError as error:
        raise refuse(node, path, problems, str(error)[:300], "docs/policy.md has the fields.") from None
    command = inputs.step
    if command.command and not command.argv:
        command.argv.extend(("/bin/sh", "-c", command.command))
    if inputs.HasField("observed"):
        unknown = [change.kind for change in inputs.observed.changes if change.kind not in KINDS]
        if unknown:
            raise refuse(
                node, path, problems, f"{unknown[0]!r} is no kind of change; kinds are {', '.join(KINDS)}"
            )
        if "complete" not in data["observed"]:
            inputs.observed.complete = True
        summarise(inputs.observed)
    return inputs


def plain(node: Node) -> Any:
    """The node as plain data."""
    if isinstance(node.value, dict):
        return {key: plain(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    if isinstance(node.value, Decimal):
        return int(node.value) if node.value == node.value.to_integral_value() else float(node.value)
    return node.value


@dataclass(frozen=True, slots=True)
class Tried:
    """An example and what the policy says about it; `decided` is the first rule that counted."""

    example: Example
    verdict: Verdict
    decided: str = ""
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether it says what the example expects, by the rule that it names."""
        return self.verdict is self.example.expect and self.example.rule in ("", self.decided)


def try_examples(policy: PolicyDocument, layer: Layer) -> Iterator[Tried]:
    """Every example of the policy, in order."""
    for example in policy.examples:
        finding = judge([layer], example.inputs)
        first = finding.hits[0] if finding.hits else None
        yield Tried(
            example, finding.verdict, first.rule.name if first else "", first.problem if first else ""
        )
