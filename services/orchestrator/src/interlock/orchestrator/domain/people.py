"""Who answers for whom: agents and their owners, and names that are one person's.

Two names are one person's when they are equal but for case (`folded`), and when one is the agent of the other or both
are agents of a third. What is decided here keeps people apart and counts them; it gives nobody a right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from interlock.common.identity import folded
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.model import Run

PLANNER: Final = "planner"
"""Who adds the steps of a plan. Nobody can have the name."""


@dataclass(frozen=True, slots=True)
class Same:
    """Two names for which one person answers, and why: `same`, `owner` (of the other), `agent` or `same_owner`."""

    one: str
    other: str
    why: str

    @property
    def words(self) -> str:
        """How the two are one, for a sentence that ends with what the other did."""
        if self.why == "owner":
            return f"{self.one} is the owner of {self.other}, who"
        if self.why == "agent":
            return f"{self.one} is an agent of {self.other}, who"
        if self.why == "same_owner":
            return f"{self.one} and {self.other} are agents of one owner, and {self.other}"
        return self.one if self.one == self.other else f"{self.one} counts as {self.other}, who"


def owners_of(run: Run, subject: str) -> tuple[str, ...]:
    """Whose agent somebody is known to be in the run, the last one named first."""
    return tuple(reversed(run.owners.get(subject, ())))


def everyone(run: Run, subjects: Iterable[str]) -> tuple[str, ...]:
    """These and their owners, sorted."""
    found = {name for subject in subjects for name in (subject, *owners_of(run, subject))}
    return tuple(sorted(found))


def same_person(run: Run, some: Iterable[str], others: Iterable[str]) -> Same | None:
    """The first of `some`, with the first of `others`, for whom one person answers."""
    others = tuple(others)
    for one in sorted(some):
        for other in others:
            if (why := _why(run, one, other)) is not None:
                return Same(one, other, why)
    return None


def _why(run: Run, one: str, other: str) -> str | None:
    if folded(one) == folded(other):
        return "same"
    own_one = {folded(name) for name in owners_of(run, one)}
    own_other = {folded(name) for name in owners_of(run, other)}
    if folded(one) in own_other:
        return "owner"
    if folded(other) in own_one:
        return "agent"
    return "same_owner" if own_one & own_other else None


def named(run: Run, owners: Mapping[str, str]) -> list[e.Event]:
    """Tells what is new of agents (`owners`: agent → owner)."""
    return [
        e.AgentNamed(agent, owner)
        for agent, owner in sorted(owners.items())
        if owner and folded(owner) != folded(agent) and owner not in run.owners.get(agent, ())
    ]
