"""Deleted and added files with the same content, shown as renames."""

from __future__ import annotations

from typing import NamedTuple

from interlock.executor.files.names import parent_and_name
from interlock.executor.snapshots.encoding import object_id
from interlock.executor.snapshots.model import FILE, Change, Entry

_EMPTY = object_id(b"")


class Paired(NamedTuple):
    """A change, or a deletion and an addition taken together as `renamed`."""

    old_path: bytes
    path: bytes
    kind: str
    old: Entry | None
    new: Entry | None


def pair_renames(changes: list[Change]) -> list[Paired]:
    """The changes in order, each deletion whose content was added elsewhere joined to that addition.

    Only exact content counts, and not the empty file. Among several candidates one of the same name is taken
    first, then the first in tree order.
    """
    gone: dict[bytes, list[Change]] = {}
    for change in changes:
        if change.kind == "deleted" and _is_content(change.old):
            assert change.old is not None
            gone.setdefault(change.old.value, []).append(change)
    sources: dict[bytes, Change] = {}
    for change in changes:
        if change.kind == "added" and _is_content(change.new):
            assert change.new is not None
            source = _take(gone.get(change.new.value, []), change.path)
            if source is not None:
                sources[change.path] = source
    moved = {source.path for source in sources.values()}
    return [
        _paired(change, sources.get(change.path))
        for change in changes
        if not (change.kind == "deleted" and change.path in moved)
    ]


def _is_content(entry: Entry | None) -> bool:
    return entry is not None and entry.kind == FILE and entry.value != _EMPTY


def _take(candidates: list[Change], path: bytes) -> Change | None:
    if not candidates:
        return None
    name = parent_and_name(path)[1]
    for index, candidate in enumerate(candidates[:50]):
        if parent_and_name(candidate.path)[1] == name:
            return candidates.pop(index)
    return candidates.pop(0)


def _paired(change: Change, source: Change | None) -> Paired:
    if source is None:
        return Paired(change.path, change.path, change.kind, change.old, change.new)
    return Paired(source.path, change.path, "renamed", source.old, change.new)
