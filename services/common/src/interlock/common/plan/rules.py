"""Rules of a policy as a document says them: in a plan's policy and in a policy file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from interlock.common.plan.approvers import MAX_QUORUM, STAGES
from interlock.common.plan.model import PlanRule, PlanStage
from interlock.common.plan.nodes import Node
from interlock.common.plan.problems import Problems
from interlock.common.plan.values import (
    Choice,
    Flag,
    ListOf,
    Schema,
    Text,
    Unreadable,
    ValueType,
    Whole,
    refuse,
)

MAX_RULES: Final = 200
MAX_EXPRESSION_BYTES: Final = 4096
MAX_REASON: Final = 500
EFFECTS: Final = ("deny", "require", "allow")
_NAME: Final = Text(
    pattern="[A-Za-z0-9][A-Za-z0-9._-]{0,62}", hint="a rule's name: letters, digits and . _ -"
)

_RULE: Final[dict[str, ValueType]] = {
    "name": _NAME,
    "effect": Choice(EFFECTS),
    "when": Text(min_chars=1, max_bytes=MAX_EXPRESSION_BYTES),
    "reason": Text(max_chars=MAX_REASON),
    "gate": Choice(("command", "effect", "both")),
    "quorum": Whole(1, MAX_QUORUM),
    "stages": STAGES,
    "separate_requester": Flag(),
    "always": Flag(),
    "network": Flag(),
}
_NEEDED: Final = ("name", "effect", "when")
_OF_REQUIRE: Final = ("gate", "quorum", "stages", "separate_requester", "always")


@dataclass(frozen=True)
class RuleValue:
    """One rule: its name, what it says, and when."""

    def schema(self) -> Schema:
        properties = {key: kind.schema() for key, kind in _RULE.items()}
        return {
            "type": "object",
            "properties": properties,
            "required": list(_NEEDED),
            "additionalProperties": False,
        }

    def read(self, node: Node, path: str, problems: Problems) -> PlanRule:
        if not isinstance(node.value, dict):
            raise refuse(node, path, problems, f"a rule is a mapping, not {node.kind()}")
        failed = _misplaced(node, node.value, path, problems)
        found: dict[str, Any] = {}
        for key, item in node.value.items():
            try:
                if key in _RULE:
                    found[key] = _RULE[key].read(item, f"{path}.{key}", problems)
            except Unreadable as error:
                failed = error
        if failed is not None:
            raise failed
        if quorum := found.pop("quorum", None):
            found["stages"] = (PlanStage(quorum=quorum), *found.get("stages", ()))
        when = node.value["when"]
        return PlanRule(**found, line=when.line, column=when.column)


def _misplaced(node: Node, given: dict[str, Node], path: str, problems: Problems) -> Unreadable | None:
    failed: Unreadable | None = None
    for key, item in given.items():
        if key not in _RULE:
            known = ", ".join(_RULE)
            failed = refuse(item, f"{path}.{key[:80]}", problems, f"is not a field here; known are {known}")
    for key in _NEEDED:
        if key not in given:
            failed = refuse(
                node, f"{path}.{key}", problems, "is missing", "A rule has name, effect and when."
            )
    effect = given["effect"].value if "effect" in given else None
    of = (*(_OF_REQUIRE if effect != "require" else ()), *(("network",) if effect != "allow" else ()))
    for key in of:
        if key in given and effect in EFFECTS:
            wanted = "allow" if key == "network" else "require"
            message = f"belongs to rules with the effect {wanted}, not {effect}"
            failed = refuse(given[key], f"{path}.{key}", problems, message, "Remove it.")
    return failed


@dataclass(frozen=True)
class RulesValue:
    """A list of rules, each name once."""

    def schema(self) -> Schema:
        return ListOf(RuleValue(), MAX_RULES).schema()

    def read(self, node: Node, path: str, problems: Problems) -> tuple[PlanRule, ...]:
        rules: tuple[PlanRule, ...] = ListOf(RuleValue(), MAX_RULES).read(node, path, problems)
        seen: set[str] = set()
        for index, rule in enumerate(rules):
            if rule.name in seen:
                assert isinstance(node.value, list)
                where = f"{path}[{index}].name"
                raise refuse(node.value[index], where, problems, f"{rule.name!r} is given twice")
            seen.add(rule.name)
        return rules


RULES: Final = RulesValue()
