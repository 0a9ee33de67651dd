"""The recent part of the feed, bounded by count and size: what every subscriber reads from.

There is one log and no queue per subscriber: a reader is a number into it. Whoever is overtaken by its oldest
entry has been too slow.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from interlock.approval.domain.changes import Change
from interlock.approval.domain.cursor import Cursor


@dataclass(frozen=True, slots=True)
class Entry:
    """A change and the orchestrator's cursor at or before it.

    `repeats` marks a REQUESTED whose approval the view's own snapshot already held (it was asked while the
    snapshot was read): whoever saw that snapshot skips it.
    """

    change: Change
    upstream: str
    repeats: bool = False


class Log:
    """Live changes in order, numbered from 0. Starts at the orchestrator's cursor `base`; forgets the oldest."""

    def __init__(self, base: str, max_entries: int, max_bytes: int) -> None:
        self._base = base
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._floor: int | None = None
        self.first = 0
        """Number of the oldest entry that is still here."""

    @property
    def end(self) -> int:
        """The number the next entry will get."""
        return self.first + len(self._entries)

    def __getitem__(self, number: int) -> Entry:
        return self._entries[number - self.first]

    def append(self, entries: Sequence[Entry]) -> None:
        """Add the newest changes, whose positions are above every earlier one's.

        They stay together, whatever the limits: a reader that was at the end must be able to get them all.
        """
        if entries and self._floor is None:
            # Nothing lies between the base and the first change, but the base's own position is not known.
            self._floor = entries[0].change.position - 1
        self._entries.extend(entries)
        self._bytes += sum(entry.change.size for entry in entries)
        while len(self._entries) > len(entries) and self._is_too_large():
            self._forget_oldest()

    def locate(self, cursor: Cursor, upstream: str) -> int | None:
        """Number of the first entry after a cursor, or None when the log does not reach back to it.

        `upstream` is the orchestrator's cursor at the log's end.
        """
        if cursor.upstream == upstream:
            return self._by_position(cursor.position, self.end)
        if cursor.upstream == self._base and self.first == 0:
            return self._by_position(cursor.position, 0)
        if self._floor is not None and cursor.position >= self._floor:
            return self._by_position(cursor.position, 0)
        return None

    def _is_too_large(self) -> bool:
        return len(self._entries) > self._max_entries or self._bytes > self._max_bytes

    def _by_position(self, position: int, at_least: int) -> int:
        found = self.first + bisect_right(self._entries, position, key=lambda entry: entry.change.position)
        return max(found, at_least)

    def _forget_oldest(self) -> None:
        oldest = self._entries.popleft()
        self._bytes -= oldest.change.size
        self._floor = oldest.change.position
        self.first += 1
