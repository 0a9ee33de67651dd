"""A place in the gateways' settings file: it reads its value, and says by line and field what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

from interlock.common.errors import InterlockError, Reason
from interlock.common.plan.nodes import Node

_FIX = "See docs/models.md for the gateways' settings."


@dataclass(frozen=True, slots=True)
class At:
    """A value of the file and its field, such as ``gateways.team.timeout``. No error shows a value."""

    file: Path
    node: Node
    field: str = ""

    def bad(self, what: str, fix: str = "") -> NoReturn:
        """Raises INVALID_ARGUMENT for this place."""
        where = f"{self.file}, line {self.node.line}" if self.node.line else f"{self.file}"
        name = self.field or "the file"
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"{where}: {name} {what}.",
            field=self.field or "INTERLOCK_PLANNER_GATEWAYS",
            fix=fix or _FIX,
        )

    def fields(self, known: frozenset[str]) -> dict[str, At]:
        """The fields of a mapping that may have these and no others."""
        found = self._mapping()
        for name, at in found.items():
            if name not in known:
                at.bad(f"is no setting here; there are {', '.join(sorted(known))}")
        return found

    def entries(self, most: int) -> dict[str, At]:
        """The entries of a mapping whose keys are free, at least one."""
        found = self._mapping()
        if not 1 <= len(found) <= most:
            self.bad(f"must have 1 to {most} entries")
        return found

    def need(self, name: str) -> At:
        """A field that has to be there."""
        found = self._mapping()
        if name not in found:
            At(self.file, self.node, self._below(name)).bad("is missing")
        return found[name]

    def items(self, most: int) -> Sequence[At]:
        """The items of a list, at least one."""
        value = self.node.value
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            self.bad(f"must be a list of 1 to {most} texts")
        return [At(self.file, each, f"{self.field}[{index}]") for index, each in enumerate(value)]

    def text(self, most: int = 8_192) -> str:
        """A text that is not empty."""
        value = self.node.value
        if not isinstance(value, str) or not value.strip() or len(value) > most:
            self.bad(f"must be a text of 1 to {most:,} characters (in quotes, where it looks like a number)")
        return value.strip()

    def one_of(self, words: Sequence[str]) -> str:
        """One of these words."""
        if self.node.value not in words:
            self.bad(f"must be one of {', '.join(words)}")
        return str(self.node.value)

    def whole(self, least: int, most: int) -> int:
        """A whole number within bounds."""
        value = self.node.value
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.bad(f"must be a whole number from {least:,} to {most:,}")
        return value

    def number(self, least: int, most: int) -> Decimal:
        """A number within bounds."""
        value = self.node.value
        if not isinstance(value, int | Decimal) or isinstance(value, bool) or not least <= value <= most:
            self.bad(f"must be a number from {least:,} to {most:,}")
        return Decimal(value)

    def _mapping(self) -> dict[str, At]:
        value = self.node.value
        if not isinstance(value, dict):
            self.bad("must be a mapping")
        return {name: At(self.file, each, self._below(name)) for name, each in value.items()}

    def _below(self, name: str) -> str:
        return f"{self.field}.{name[:60]}" if self.field else name[:60]
