"""Who has to approve, as a plan's policy says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from interlock.common.plan.model import PlanStage
from interlock.common.plan.nodes import Node
from interlock.common.plan.problems import Problems
from interlock.common.plan.values import ListOf, MapOf, Schema, Text, ValueType, Whole, refuse

MAX_STAGES: Final = 5
MAX_GROUPS: Final = 20
MAXPEOPLE: Final = 100
MAX_QUORUM: Final = 20
_SUBJECT: Final = Text(pattern="[A-Za-z0-9][A-Za-z0-9._@:+/=|-]{0,127}", hint="a subject, or group:NAME")
PEOPLE: Final = ListOf(_SUBJECT, MAXPEOPLE, 1)
_GROUP: Final = "[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
GROUPS: Final = MapOf(_GROUP, "the name of a group", PEOPLE, MAX_GROUPS)


_STAGE: Final[dict[str, ValueType]] = {
    "name": Text(max_chars=100),
    "quorum": Whole(1, MAX_QUORUM),
    "approvers": PEOPLE,
}


@dataclass(frozen=True)
class StageValue:
    """One stage: who may approve in it, how many of them have to, and its name."""

    def schema(self) -> Schema:
        properties = {key: kind.schema() for key, kind in _STAGE.items()}
        return {"type": "object", "properties": properties, "additionalProperties": False}

    def read(self, node: Node, path: str, problems: Problems) -> PlanStage:
        if not isinstance(node.value, dict):
            raise refuse(node, path, problems, f"must be a mapping, not {node.kind()}")
        unknown = [key for key in node.value if key not in _STAGE]
        if unknown:
            known = ", ".join(_STAGE)
            raise refuse(node, path, problems, f"has the unknown key {unknown[0][:80]!r}; known are {known}")
        found: dict[str, Any] = {
            key: _STAGE[key].read(item, f"{path}.{key}", problems) for key, item in node.value.items()
        }
        return PlanStage(**found)


STAGES: Final = ListOf(StageValue(), MAX_STAGES)
