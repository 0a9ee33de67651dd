"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from interlock.common.errors import InterlockError


class Level(StrEnum):
    """How bad it is: only `missing` stops Interlock from working."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    level: Level
    detail: str
    fix: str = ""

    @classmethod
    def of_error(cls, check: str, error: InterlockError, level: Level = Level.MISSING) -> Finding:
        """The finding that an error makes."""
        return cls(check, level, error.message, error.fix)
