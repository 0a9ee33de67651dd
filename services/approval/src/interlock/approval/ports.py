"""What the use cases need from the outside, in the domain's words. `orchestrator.py` provides it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from interlock.approval.domain.changes import Batch, Place
from interlock.common.identity import Identity


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision of `caller` on its way to the orchestrator. `verdict` is the wire's Decision, opaque here."""

    request_id: str
    approval_id: str
    run_id: str
    step: int
    verdict: Any
    caller: Identity | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list; `request` is opaque."""

    request: Any


class Orchestrator(Protocol):
    """The orchestrator's approvals. Every method raises InterlockError."""

    def watch(self, cursor: str) -> AsyncGenerator[Batch | None, None]:
        """Follow the feed after a cursor (empty: first what is open). The first item, None, says "connected"."""
        ...

    async def record(self, answer: Answer) -> Any:
        """Record a decision; returns the approval after it."""
        ...

    async def get(self, approval_id: str) -> Any:
        """Return one approval with its preview."""
        ...

    async def places(self) -> tuple[Place, ...]:
        """Return who lets the current caller decide for them, by delegations that are in force."""
        ...

    async def all_places(self) -> Mapping[str, tuple[Place, ...]]:
        """Return who lets whom decide for them, by who is let."""
        ...

    async def page(self, page: Page) -> Any:
        """Return one page of approvals without previews."""
        ...
