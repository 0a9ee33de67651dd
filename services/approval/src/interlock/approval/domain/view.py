"""The approvals that are open now, kept from the feed, bounded by count and by the size of previews."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.approval.domain.changes import STILL_OPEN, Change, Item, Kind


@dataclass(frozen=True, slots=True)
class Open:
    """An open approval. `since` is the position it was asked at; -1 when the view began with it."""

    change: Change
    since: int


class View:
    """Open approvals by id. Beyond `max_pending` it is no longer complete and says so."""

    def __init__(self, max_pending: int, max_preview_bytes: int) -> None:
        self._max_pending = max_pending
        self._max_preview_bytes = max_preview_bytes
        self._open: dict[str, Open] = {}
        self._bytes = 0
        self.complete = True

    def __len__(self) -> int:
        return len(self._open)

    def holds(self, approval_id: str) -> bool:
        """Whether it is open, as far as is known."""
        return approval_id in self._open

    def item(self, approval_id: str) -> Item | None:
        """An open approval, as far as is known."""
        found = self._open.get(approval_id)
        return found.change.item if found is not None else None

    def apply(self, change: Change) -> None:
        """Follow one change of the feed."""
        approval_id = change.item.approval_id
        known = self._open.pop(approval_id, None)
        if known is not None:
            self._bytes -= known.change.size
        if change.kind not in STILL_OPEN:
            return
        if len(self._open) >= self._max_pending:
            self.complete = False
            return
        kept = change if self._bytes + change.size <= self._max_preview_bytes else change.without_preview()
        since = known.since if known is not None else -1 if change.kind is Kind.PENDING else change.position
        # As everyone is told of it who begins to listen: one object for all of them.
        self._open[approval_id] = Open(kept.as_pending(), since)
        self._bytes += kept.size

    def snapshot(self, position: int, after: str = "") -> list[Change]:
        """What was asked at or before a position and is still open, by id (which is by age), after an id."""
        chosen = [
            entry.change
            for approval_id, entry in self._open.items()
            if approval_id > after and entry.since <= position
        ]
        return sorted(chosen, key=lambda change: change.item.approval_id)
