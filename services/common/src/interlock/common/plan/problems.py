"""A precise complaint about a plan document, and the list in which the parser gathers them."""

from __future__ import annotations

from dataclasses import dataclass, field

from interlock.common.errors import InterlockError, Reason
from interlock.common.plan.limits import MAX_PROBLEMS


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a plan. ``line`` and ``column`` are 1-based, 0 where the format has none."""

    reason: Reason
    field: str
    message: str
    fix: str = ""
    line: int = 0
    column: int = 0

    def text(self) -> str:
        """The complaint in one line, with its position and field path."""
        where = f"line {self.line}, column {self.column}: " if self.line else ""
        path = f"{self.field}: " if self.field else ""
        return f"{where}{path}{self.message}"

    def error(self, others: int = 0) -> InterlockError:
        """The problem as the error to raise; ``others`` is how many more problems the plan has."""
        more = f" (and {others} more problem{'s' if others > 1 else ''})" if others else ""
        position = {"line": str(self.line), "column": str(self.column)} if self.line else {}
        return InterlockError(
            self.reason, self.text() + more, field=self.field, fix=self.fix, metadata=position
        )


@dataclass(slots=True)
class Problems:
    """Collects problems up to a bound; what comes after is only counted.

    ``earlier_steps`` is how many steps the run has before the document's first. ``for_run``: the document is to
    become a run of its own, so its steps' gates are held against its policy.
    """

    found: list[Problem] = field(default_factory=list)
    dropped: int = 0
    earlier_steps: int = 0
    for_run: bool = False

    def add(self, problem: Problem) -> None:
        """Keep the problem, or count it when the bound is reached."""
        if len(self.found) < MAX_PROBLEMS:
            self.found.append(problem)
        else:
            self.dropped += 1

    def raise_first(self) -> None:
        """Raise the first problem found, if any, saying how many others there are."""
        if self.found:
            raise self.found[0].error(len(self.found) - 1 + self.dropped)


class DocumentError(Exception):
    """The document cannot be read at all (syntax, size, aliases). Carries the one problem."""

    def __init__(self, message: str, *, fix: str = "", line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.problem = Problem(Reason.PLAN_INVALID, "", message, fix, line, column)
