"""Facts of single changes that a move goes by."""

from __future__ import annotations

from interlock.executor.snapshots.model import DIRECTORY, FILE, SET_ID, Change, Entry, file_entry


def without_set_id(change: Change) -> Change:
    """The change between the files as they are made and looked at: older trees may hold set-id bits."""
    old, new = change.old, change.new
    if not ((old is not None and old.mode & SET_ID) or (new is not None and new.mode & SET_ID)):
        return change
    return change._replace(old=_plain(old), new=_plain(new))


def _plain(entry: Entry | None) -> Entry | None:
    return file_entry(entry.mode, entry.value) if entry is not None and entry.kind == FILE else entry


def needs_removal(change: Change) -> bool:
    """Whether what was there has to go before what comes can be made."""
    if change.old is None:
        return False
    return change.new is None or (change.old.kind == DIRECTORY) != (change.new.kind == DIRECTORY)
