"""What the feed says, as far as this service looks into it, and filters over it."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

from interlock.common.access.deciding import may_approve
from interlock.common.access.scope import covers
from interlock.common.identity import Identity


class Kind(Enum):
    """What happened to an approval."""

    PENDING = "pending"
    """It was open when a feed or subscription began."""
    REQUESTED = "requested"
    RESOLVED = "resolved"
    VOTED = "voted"
    """Someone approved where several have to; it is still open."""
    REMINDED = "reminded"
    """It has been open for a while."""
    ESCALATED = "escalated"
    """Others may decide about it too; it is still open."""
    REPLACED = "replaced"
    """Its preview was replaced by another one, about which a new approval asks."""
    APPLIED = "applied"
    """What it let through took effect."""


STILL_OPEN: Final = frozenset(Kind) - {Kind.RESOLVED, Kind.REPLACED, Kind.APPLIED}
"""After these an approval waits for a decision; after every other one it does not."""


@dataclass(frozen=True, slots=True)
class Item:
    """The fields of an approval that this service looks at. `step_kind` is the number of the wire's StepKind."""

    approval_id: str
    run_id: str = ""
    workspace_id: str = ""
    step_kind: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    workspace_labels: Mapping[str, str] = field(default_factory=dict)
    step: int = 0
    traceparent: str = ""
    """Of the run: what is done about the approval belongs into the run's trace, however much later."""
    stages: tuple[frozenset[str], ...] = ()
    """Who may approve in each stage; nobody named = everyone with the role."""
    excluded: frozenset[str] = frozenset()
    """Who may not approve, having asked."""


@dataclass(frozen=True, slots=True)
class Change:
    """One event of the feed.

    `position` grows strictly over the live feed. `brief` and `full` are the approval as it is sent, without and
    with its preview; they are opaque here. `full` is None where memory was too dear: it is fetched again then.
    `size` is what both take, in bytes, about. `run_seq` and `run_head` are the number and digest of an event of the
    run's journal, passed on as they came.
    """

    kind: Kind
    position: int
    item: Item
    brief: Any = None
    full: Any = None
    size: int = 0
    run_seq: int = 0
    run_head: str = ""

    def as_pending(self) -> Change:
        """The same approval, told to someone who begins to listen."""
        return replace(self, kind=Kind.PENDING)

    def without_preview(self) -> Change:
        """The same change, holding less memory."""
        return replace(self, full=None, size=min(self.size, 1024))


@dataclass(frozen=True, slots=True)
class Batch:
    """One message of the orchestrator's feed; `cursor` continues after it, `caught_up` ends the snapshot.

    `anchor` is the journal's newest, passed on as it came.
    """

    changes: tuple[Change, ...]
    cursor: str
    caught_up: bool = False
    anchor: Any = None


@dataclass(frozen=True, slots=True)
class Place:
    """Somebody who lets the caller decide for them, on workspaces with all of these labels."""

    subject: str
    scope: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Filter:
    """Which approvals a subscriber wants. Every non-empty field narrows.

    `workspace_labels` are those asked for and the caller's scope; `approver` is the caller, where only what it may
    approve is wanted, and `places` who lets it decide for them.
    """

    run_id: str = ""
    workspace_id: str = ""
    step_kinds: frozenset[int] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    workspace_labels: Mapping[str, str] = field(default_factory=dict)
    approver: Identity | None = None
    places: tuple[Place, ...] = ()

    @property
    def key(self) -> Hashable:
        """Equal for filters that choose the same."""
        asks = self.approver
        who = (asks.subject, asks.roles, asks.owner, asks.groups, self.places) if asks is not None else None
        labels, scope = frozenset(self.labels.items()), frozenset(self.workspace_labels.items())
        return self.run_id, self.workspace_id, self.step_kinds, labels, scope, who

    @property
    def standing(self) -> str:
        """What the caller may approve by, as a short text; empty for a filter that does not ask for it.

        A cursor carries it: between two that differ, approvals may have come or gone without any event. The subject
        is not in it, so that those who may approve by the same share their messages.
        """
        asks = self.approver
        if asks is None:
            return ""
        by = (sorted(asks.roles), sorted(asks.groups), self.places)
        return hashlib.sha256(repr(by).encode()).hexdigest()[:16]

    def matches(self, item: Item) -> bool:
        """Whether the approval passes every set field."""
        return (
            (not self.run_id or item.run_id == self.run_id)
            and (not self.workspace_id or item.workspace_id == self.workspace_id)
            and (not self.step_kinds or item.step_kind in self.step_kinds)
            and all(item.labels.get(key) == value for key, value in self.labels.items())
            and covers(self.workspace_labels, item.workspace_labels)
            and (
                self.approver is None
                or may_approve(self.approver, item.stages, item.excluded, self._here(item))
            )
        )

    def _here(self, item: Item) -> list[str]:
        return [place.subject for place in self.places if covers(dict(place.scope), item.workspace_labels)]
