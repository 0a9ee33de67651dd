"""Approvals as this process has written them: what the feed tells of them, and what a decision needs, at hand.

Whoever writes an event of an approval has its row in hand. Followers are told of the event a moment later, and a
person decides soon after: reading the row back each time would cost more than all else that is done for them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

from interlock.orchestrator.convert import approvals as convert
from interlock.orchestrator.store.readers.approvals import ApprovalRow
from interlock.orchestrator.store.records import ApprovalUpsert

Told = Mapping[tuple[bytes, str], ApprovalUpsert]
"""The row of an approval as an event left it, by the event's hash and the approval's id."""

_ENTRY_BYTES: Final = 1024
"""What a row takes beside its message, about."""


class Asked:
    """Rows by the event that made them, and the newest by id. Bounded; what is gone is read from the database.

    An event's hash covers the run's whole history, so what is kept under it cannot go stale, and is never asked for
    when the event did not become durable.

    Args:
        capacity: bytes kept, about; the oldest go first.
    """

    def __init__(self, *, capacity: int = 32 * 1024 * 1024) -> None:
        self._capacity = capacity
        self._size = 0
        self._rows: OrderedDict[tuple[bytes, str], tuple[ApprovalRow, int]] = OrderedDict()

    def expect(self, run_id: str, told: Told) -> None:
        """What these events will say once they are durable, which they may never be."""
        for key, row in told.items():
            self._put(key, _row(run_id, row))

    def learn(self, run_id: str, rows: Iterable[ApprovalUpsert]) -> None:
        """The newest rows, which have just become durable."""
        for row in rows:
            self._put((b"", row.id), _row(run_id, row))

    def told(self, event: bytes, approval_id: str) -> ApprovalRow | None:
        """An approval as the event of this hash left it, if this process wrote it not long ago."""
        return self._get((event, approval_id))

    def newest(self, approval_id: str) -> ApprovalRow | None:
        """An approval as this process left it last. Another process may have changed its state since, but not what it
        asks about: run, step, digest, preview.
        """
        return self._get((b"", approval_id))

    def approved(self, approval_id: str) -> ApprovalRow | None:
        """An approval that let its step take effect, which it has: nothing changes it any more."""
        row = self.newest(approval_id)
        return row if row is not None and row.state == "approved" else None

    def forget(self, run_id: str) -> None:
        """Something of a run was erased: what is kept of its approvals may repeat it."""
        for key in [key for key, (row, _) in self._rows.items() if row.run_id == run_id]:
            self._size -= self._rows.pop(key)[1]

    def _get(self, key: tuple[bytes, str]) -> ApprovalRow | None:
        found = self._rows.get(key)
        return found[0] if found is not None else None

    def _put(self, key: tuple[bytes, str], row: ApprovalRow) -> None:
        size = _ENTRY_BYTES + convert.size_of(row.doc)
        self._size += size - self._rows.pop(key, (None, 0))[1]
        self._rows[key] = (row, size)
        while self._size > self._capacity:
            self._size -= self._rows.popitem(last=False)[1][1]


def _row(run_id: str, row: ApprovalUpsert) -> ApprovalRow:
    return ApprovalRow(
        row.id,
        run_id,
        row.step,
        row.attempt,
        row.gate,
        row.digest,
        row.state,
        row.requested_at,
        row.expires_at,
        row.resolved_at,
        row.subject,
        row.doc,
    )
