"""Policy files: YAML or JSON → a policy whose every rule compiles, or every mistake with its line and column."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from interlock.common.errors import InterlockError, Reason
from interlock.common.plan import limits, parse
from interlock.common.plan.approvers import GROUPS
from interlock.common.plan.load import load
from interlock.common.plan.model import PlanRule
from interlock.common.plan.nodes import Node
from interlock.common.plan.problems import DocumentError, Problem, Problems
from interlock.common.plan.rules import RULES
from interlock.common.plan.table import Field, Shape
from interlock.common.plan.values import Text, refuse
from interlock.common.policy.examples import EXAMPLES
from interlock.common.policy.judge import GROUP
from interlock.common.policy.language import BadExpression, compile_expression
from interlock.common.policy.model import PolicyDocument

MAX_POLICY_BYTES: Final = 1024 * 1024
_MAX_DESCRIPTION: Final = 2000
_NAME: Final = Text(
    pattern="[A-Za-z0-9][A-Za-z0-9._-]{0,62}", hint="a policy's name: letters, digits and . _ -"
)

POLICY_FILE: Final = Shape(
    "A policy.",
    PolicyDocument,
    (
        Field("name", _NAME, "Its name, for example `name: team`.", required=True),
        Field("version", Text(max_chars=limits.MAX_POLICY_VERSION), "Shown with the name."),
        Field("description", Text(max_chars=_MAX_DESCRIPTION), "What it is for."),
        Field("rules", RULES, "Its rules.", required=True),
        Field("groups", GROUPS, "Names for several subjects, used as group:NAME in stages."),
        Field("examples", EXAMPLES, "What it says about some steps: `interlock policy test` tries them."),
    ),
)


def parse_policy(document: bytes | str, source: str = "") -> PolicyDocument:
    """The policy a document says, at most 1 MiB. Raises POLICY_INVALID for its first mistake."""
    policy, problems = check_policy(document, source)
    if policy is None:
        raise invalid(problems, source)
    return policy


def check_policy(
    document: bytes | str, source: str = ""
) -> tuple[PolicyDocument | None, tuple[Problem, ...]]:
    """The policy, or None and every problem found (at most 100)."""
    problems = Problems()
    policy = None
    try:
        policy = _read(document, problems)
    except DocumentError as error:
        problems.add(error.problem)
    found = tuple(replace(each, reason=Reason.POLICY_INVALID) for each in problems.found)
    return (replace(policy, source=source) if policy is not None and not found else None), found


def invalid(problems: tuple[Problem, ...], source: str = "") -> InterlockError:
    """The first of the problems as POLICY_INVALID; metadata has file, rule, line and column where they are known."""
    first = problems[0]
    error = first.error(len(problems) - 1)
    rule = first.message.split("'")[1] if first.message.startswith("the rule '") else ""
    more = {name: text for name, text in (("file", source), ("rule", rule)) if text}
    message = f"{source}: {error.message}" if source else error.message
    return InterlockError(
        Reason.POLICY_INVALID,
        message,
        field=error.field,
        fix=error.fix or "Correct it there; `interlock policy check FILE` shows all mistakes of a file.",
        metadata={**error.metadata, **more},
    )


def check_rules(rules: Iterable[PlanRule], known_groups: Iterable[str], path: str) -> tuple[Problem, ...]:
    """What is wrong with rules whose shape is right: expressions, and groups that there are not."""
    problems, groups = Problems(), frozenset(known_groups)
    for index, rule in enumerate(rules):
        _check(rule, f"{path}[{index}]", groups, problems, _Place(rule.line, rule.column))
    return tuple(replace(each, reason=Reason.POLICY_INVALID) for each in problems.found)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an expression begins; `lines` is its document, empty where that is not known."""

    line: int
    column: int
    lines: tuple[str, ...] = ()

    def of(self, line: int, column: int) -> tuple[int, int]:
        """Where line and column of the expression are in the document, as near as its form allows."""
        if not self.line:
            return line, column
        text = self.lines[self.line - 1] if self.line <= len(self.lines) else ""
        mark = text[self.column - 1 : self.column]
        if mark == "|":
            # The block is indented as its first line with text is.
            body = next((text for text in self.lines[self.line :] if text.strip()), "")
            return self.line + line, len(body) - len(body.lstrip(" ")) + column
        if mark == ">" or line > 1:
            return self.line, self.column
        return self.line, self.column + (1 if mark in "'\"" and mark else 0) + column - 1


def _read(document: bytes | str, problems: Problems) -> PolicyDocument | None:
    raw = document.encode(errors="surrogatepass") if isinstance(document, str) else document
    if len(raw) > MAX_POLICY_BYTES:
        raise DocumentError(f"the document has {len(raw):,} bytes; a policy may have {MAX_POLICY_BYTES:,}")
    node = load(document)
    if not isinstance(node.value, dict):
        raise DocumentError(f"a policy is a mapping with name and rules, not {node.kind()}")
    values: dict[str, Any] | None = parse.read_shape(POLICY_FILE, node, "", problems)
    if values is None or not {"name", "rules"} <= values.keys():
        return None
    policy = PolicyDocument(**values)
    lines = tuple(raw.decode(errors="replace").splitlines())
    for index, rule in enumerate(policy.rules):
        place = _Place(rule.line, rule.column, lines)
        _check(rule, f"rules[{index}]", frozenset(policy.groups), problems, place)
    names = {rule.name for rule in policy.rules}
    for index, example in enumerate(policy.examples):
        if example.rule and example.rule not in names:
            at = _example(node, index)
            refuse(
                at, f"examples[{index}].rule", problems, f"there is no rule {example.rule!r} in the policy"
            )
    return policy


def _example(node: Node, index: int) -> Node:
    assert isinstance(node.value, dict)
    examples = node.value["examples"].value
    assert isinstance(examples, list)
    return examples[index]


def _check(rule: PlanRule, path: str, groups: frozenset[str], problems: Problems, place: _Place) -> None:
    try:
        compile_expression(rule.when)
    except BadExpression as error:
        line, column = place.of(error.line or 1, error.column or 1)
        message = f"the rule {rule.name!r}: {error}"
        fix = "docs/policy.md has the variables and their types."
        problems.add(Problem(Reason.POLICY_INVALID, f"{path}.when", message, fix, line, column))
    for number, stage in enumerate(rule.stages):
        unknown = [
            name for name in stage.approvers if name.startswith(GROUP) and name[len(GROUP) :] not in groups
        ]
        if unknown:
            message = f"the rule {rule.name!r}: {unknown[0]!r} is not among the policy's groups"
            where = f"{path}.stages[{number}].approvers"
            problems.add(
                Problem(Reason.POLICY_INVALID, where, message, "Add the group.", place.line, place.column)
            )
        if stage.approvers and not unknown and _few(stage.approvers) < stage.quorum:
            message = (
                f"the rule {rule.name!r}: {stage.quorum} people are wanted and {len(stage.approvers)} named"
            )
            where = f"{path}.stages[{number}]"
            problems.add(
                Problem(Reason.POLICY_INVALID, where, message, "Name more.", place.line, place.column)
            )


def _few(approvers: tuple[str, ...]) -> int:
    """How many they are at least known to be; whoever is in a group is counted as enough."""
    return 1_000 if any(name.startswith(GROUP) for name in approvers) else len(set(approvers))
