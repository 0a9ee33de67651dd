"""How two effects of one step differ: what someone who has reviewed the first has not seen of the second."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from interlock.executor.files.names import parent_and_name
from interlock.executor.snapshots.compare import compare
from interlock.executor.snapshots.diff import Diff, DiffLimits, diff_changes
from interlock.executor.snapshots.model import DIRECTORY, Change, Entry, Snapshot
from interlock.executor.snapshots.store import Store


class Effect(NamedTuple):
    """An effect by its trees; `result` is None while nothing ran."""

    base: Snapshot
    result: Snapshot | None


class Differences(NamedTuple):
    """See `differences`."""

    workspace: Diff
    effect: Diff
    dropped: Diff


def differences(store: Store, earlier: Effect, later: Effect, limits: DiffLimits) -> Differences:
    """Compares two effects at the paths in question: those to which they do not do the same.

    The same means from the same kind, mode and content to the same; a directory counts by kind and mode.

    Returns:
        workspace: how the bases differ at these paths, and where a directory on the way to one was changed;
            without a result on either side, how they differ everywhere.
        effect: what the later effect does to them.
        dropped: what the earlier one did to those that the later one leaves alone.

    Raises TREE_NOT_FOUND, WORKSPACE_LIMIT_EXCEEDED.
    """
    moved = compare(store, earlier.base, later.base)
    if earlier.result is None or later.result is None:
        return Differences(_diff(store, moved, limits), _diff(store, [], limits), _diff(store, [], limits))
    before = {change.path: change for change in compare(store, earlier.base, earlier.result)}
    after = {change.path: change for change in compare(store, later.base, later.result)}
    asked = {path for path in before.keys() | after.keys() if not _same(before.get(path), after.get(path))}
    around = asked | set(_ancestors(asked))
    return Differences(
        workspace=_diff(store, (change for change in moved if change.path in around), limits),
        effect=_diff(store, (change for path, change in after.items() if path in asked), limits),
        dropped=_diff(store, (change for path, change in before.items() if path not in after), limits),
    )


def _diff(store: Store, changes: Iterable[Change], limits: DiffLimits) -> Diff:
    return diff_changes(store, list(changes), limits)


def _same(a: Change | None, b: Change | None) -> bool:
    if a is None or b is None:
        return a is b
    return _own(a.old) == _own(b.old) and _own(a.new) == _own(b.new)


def _own(entry: Entry | None) -> Entry | None:
    # A directory's value changes with everything below it, which is compared by itself.
    if entry is None or entry.kind != DIRECTORY:
        return entry
    return entry._replace(value=b"")


def _ancestors(paths: Iterable[bytes]) -> Iterable[bytes]:
    for path in paths:
        while path := parent_and_name(path)[0]:
            yield path
