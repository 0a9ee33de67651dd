"""Taking published effects back out of a workspace: three-way against everything that changed since."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from interlock.common.digests import digest_text
from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.names import join, shown
from interlock.executor.snapshots.closed import refuse_closed
from interlock.executor.snapshots.compare import compare, totals_after
from interlock.executor.snapshots.merge import merge
from interlock.executor.snapshots.model import DIRECTORY, Entry, Snapshot
from interlock.executor.snapshots.store import Store
from interlock.executor.workspaces.interval import PREFIX, moved_by_others, undone_by_going_back
from interlock.executor.workspaces.lineage import publisher
from interlock.executor.workspaces.model import Workspace
from interlock.executor.workspaces.publications import Publications, Request, refuse_blocked
from interlock.executor.workspaces.records import Record
from interlock.executor.workspaces.runtime import Runtime

Change = tuple[Snapshot, Snapshot]

MAX_PATHS = 100
"""Conflicting paths named in an error."""


Pair = tuple[bytes, bytes]
"""A change: the tree it led to, or what is there of it, and the tree that is to be there instead."""


@dataclass(frozen=True)
class Revert(Request):
    """One wish to revert: `base` is the effect's result, `result` what it stood on; `more` follows in this order.

    `whole`: what all of them come to where nobody else has changed anything; then `base` and `result` may be empty.
    `own`: how the keys begin of the publications that are not somebody else's.
    """

    expected_head: bytes = b""
    only_look: bool = False
    more: tuple[Pair, ...] = ()
    whole: Pair | None = None
    own: tuple[str, ...] = ()

    @property
    def pair(self) -> bytes:
        """Never that of a publication, whose pair says that an effect was published."""
        return PREFIX + b"".join(base + result for base, result in self.pairs)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All of them, in order."""
        return ((self.base, self.result), *self.more) if self.base else self.more


class Reverted(NamedTuple):
    """How it ended, or would end. `live_tree` is the live directory before; empty when it was done before.

    `how`: `published` (the workspace is as it was before the effect), `merged` (something else had changed since
    and was kept), `already`.
    """

    head_tree: str
    how: Literal["published", "merged", "already"]
    live_tree: str = ""
    kept: tuple[str, ...] = ()
    kept_count: int = 0


def revert(
    publications: Publications, workspace: Workspace, runtime: Runtime, head: Snapshot, ask: Revert
) -> Reverted:
    """See `Workspaces.revert`; the caller holds the workspace's lock and has settled earlier moves.

    What others did to the live directory becomes the head first, as a change of its own.
    """
    done = publications.repeated(workspace.id, ask)
    if done is not None:
        return Reverted(done.head_tree, "already", kept=done.kept, kept_count=done.kept_count)
    _check(publications, workspace, head, ask)
    store, registry = publications.store, publications.registry
    changes_asked = [_known(publications, workspace, pair, back=ask.whole is not None) for pair in ask.pairs]
    scanned, drift = publications.look(workspace, runtime, head)
    live = scanned.snapshot
    if ask.whole is not None and _alone(publications, workspace, ask.whole, ask.own):
        changes_asked = [_trees(publications, workspace.id, ask.whole)]
    target = _target(store, changes_asked, live, head, one=ask.whole is None)
    changes = compare(store, live, target, publications.limits)
    refuse_blocked(scanned.skipped, changes)
    refuse_closed(changes)
    goal = ask.whole[1] if ask.whole is not None else ask.result
    if registry.snapshot(workspace.id, target.tree) is None:
        registry.put_snapshot(workspace.id, target, totals_after(store, scanned.totals, changes))
    how: Literal["published", "merged"] = "published" if target.tree == goal else "merged"
    done_tree, live_tree = digest_text(target.tree), digest_text(live.tree)
    if ask.only_look:
        return Reverted(done_tree, how, live_tree)
    if drift is not None:
        publications.moves.perform(_record(workspace, head, None, live, "drift"), runtime)
    if not changes:
        registry.answer(workspace.id, ask.key, ask.pair, target.tree, how)
        return Reverted(done_tree, how, live_tree)
    record = _record(workspace, live, live, target, ask.cause)
    kept = publications.move(replace(record, key=ask.key, request=ask.pair, how=how), runtime)
    return Reverted(done_tree, how, live_tree, kept, len(kept))


def _record(
    workspace: Workspace, base: Snapshot, live: Snapshot | None, target: Snapshot, cause: str
) -> Record:
    token = os.urandom(8).hex()
    return Record(workspace.id, token, base.tree, live.tree if live else None, target.tree, cause)


def _target(store: Store, asked: Sequence[Change], live: Snapshot, head: Snapshot, *, one: bool) -> Snapshot:
    """The directory as it is with every change made, one after the other. Raises REVERT_CONFLICT naming all files."""
    target, paths = live, list[bytes]()
    for base, before in asked:
        outcome = merge(store, base, before, target, fine=True, settled=True)
        assert outcome.snapshot is not None
        paths += _files(store, outcome.conflicts, base, before, target)
        target = outcome.snapshot
    if paths:
        raise _conflict(store, sorted(set(paths)), asked[0][0], head, one=one)
    return target


def _check(publications: Publications, workspace: Workspace, head: Snapshot, ask: Revert) -> None:
    """Only where the workspace was can it be brought back to without others' changes."""
    if ask.expected_head not in (b"", head.tree):
        raise InterlockError(
            Reason.WORKSPACE_HEAD_MOVED,
            f"The workspace's head is {digest_text(head.tree)}, not {digest_text(ask.expected_head)}.",
            field="expected_head",
            metadata={"head_tree": digest_text(head.tree)},
        )
    if ask.whole is not None:
        heads = {head.tree for head in publications.registry.heads(workspace.id)}
        for tree in map(digest_text, ask.whole):
            if tree not in heads:
                raise InterlockError(
                    Reason.TREE_NOT_FOUND,
                    f"The workspace was never at {tree}.",
                    field="whole",
                    fix="Name trees of its snapshots.",
                )


def _known(publications: Publications, workspace: Workspace, pair: Pair, *, back: bool) -> Change:
    """Only what was published can be taken back: any other pair of trees would publish something unasked.

    It is put back only on the way to a tree that the workspace was at.
    """
    found = publisher(publications.registry, workspace.id, pair[1], pair[0])
    if found is None and back:
        found = publisher(publications.registry, workspace.id, *pair)
    if found is None:
        raise InterlockError(
            Reason.TREE_NOT_FOUND,
            "No effect that led from `to_tree` to `from_tree` was published in this workspace, nor in the one it was "
            "forked from before it was.",
            field="from_tree",
            fix="Name the result and the base tree of a step that has succeeded.",
        )
    return _trees(publications, found, pair)


def _trees(publications: Publications, workspace: str, pair: Pair) -> Change:
    return publications.known(workspace, pair[0])[0], publications.known(workspace, pair[1])[0]


def _alone(publications: Publications, workspace: Workspace, whole: Pair, own: tuple[str, ...]) -> bool:
    """Whether nobody else changed the workspace between the two: then there is nothing to tell apart."""
    since, goal = whole
    store, registry = publications.store, publications.registry
    if not publications.only_drift_since(workspace.id, since):
        return False
    if moved_by_others(registry, workspace.id, goal, since, own):
        return False
    return not undone_by_going_back(store, registry, workspace.id, goal, since)


def _files(
    store: Store, conflicts: Iterable[bytes], base: Snapshot, before: Snapshot, live: Snapshot
) -> Iterator[bytes]:
    """Conflicts file by file: for a directory, what the side that kept it has changed in it."""
    for path in conflicts:
        known = _entry(store, base, path)
        for side in (_entry(store, live, path), _entry(store, before, path)):
            if known and side and known.kind == side.kind == DIRECTORY and known.value != side.value:
                found = compare(store, Snapshot(known.value), Snapshot(side.value))
                yield from (join(path, change.path) for change in found)
                break
        else:
            yield path


def _entry(store: Store, snapshot: Snapshot, path: bytes) -> Entry | None:
    found: Entry | None = Entry(DIRECTORY, 0, snapshot.tree)
    for part in path.split(b"/"):
        if found is None or found.kind != DIRECTORY:
            return None
        found = store.directory_entries(found.value).get(part)
    return found


def _conflict(
    store: Store, paths: list[bytes], base: Snapshot, head: Snapshot, *, one: bool
) -> InterlockError:
    named = ", ".join(shown(path) for path in paths[:20])
    more = f" and {len(paths) - 20} more" if len(paths) > 20 else ""
    later = sum(_entry(store, base, path) != _entry(store, head, path) for path in paths)
    what = "What the step changed" if one else "What is to be undone"
    by_hand = "put these files right by hand"
    return InterlockError(
        Reason.REVERT_CONFLICT,
        f"{what} was changed again since: {named}{more}. Nothing was reverted.",
        fix=f"Revert the later steps first (`interlock step list RUN` shows them), or roll the run back; or {by_hand}."
        if one
        else f"{by_hand.capitalize()}, as the run left them or as they are to be, and undo it again; or go back to "
        "that very tree, without what others changed: `interlock run rollback RUN --discard-later-changes`.",
        metadata={
            "paths": "\n".join(shown(path) for path in paths[:MAX_PATHS]),
            "conflicts": str(len(paths)),
            "later_steps": str(later),
            "directory": str(len(paths) - later),
        },
    )
