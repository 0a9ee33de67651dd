"""What verifying found."""

from __future__ import annotations

from dataclasses import dataclass, field

from interlock.verify.link import Origin

MAX_PROBLEMS = 100
"""Problems listed; more are counted as one last entry."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: the line of the file (from 1; 0 = the whole file), where, and what."""

    line: int
    where: str
    message: str

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.where}: {self.message}"


@dataclass(slots=True)
class Report:
    """What was found. `ok` means that every check passed, for all `events` events and `payloads` payloads.

    `origin` is where the run of a fork comes from; `linked` the runs before it whose journals were compared.
    `noted` is how many heads known from elsewhere it was compared with. `erased` names what is gone
    because an event says so. `anchors` is how many anchors stand in it,
    `signed_by` the key that its head is signed with; `checked` says whether keys were given, and so all signatures
    were checked with them.
    `foreign` says what the file is when it is no bundle at all: "empty", "binary", "json" or "text".
    """

    run_id: str = ""
    events: int = 0
    payloads: int = 0
    head: str = ""
    origin: Origin | None = None
    linked: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    foreign: str = ""
    noted: int = 0
    erased: list[str] = field(default_factory=list)
    anchors: int = 0
    signed_by: str = ""
    checked: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def add(self, line: int, where: str, message: str) -> None:
        """Note a problem, up to MAX_PROBLEMS."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(line, where, message))
        elif len(self.problems) == MAX_PROBLEMS:
            self.problems.append(Problem(0, "bundle", "there are more problems; they are not listed"))
