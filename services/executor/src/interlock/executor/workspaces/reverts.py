"""Taking one published effect back out of a workspace: three-way against everything that changed since."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from interlock.common.digests import digest_text
from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.names import join, shown
from interlock.executor.snapshots.closed import refuse_closed
from interlock.executor.snapshots.compare import compare, totals_after
from interlock.executor.snapshots.merge import merge
from interlock.executor.snapshots.model import DIRECTORY, Entry, Snapshot
from interlock.executor.snapshots.store import Store
from interlock.executor.workspaces.model import Workspace
from interlock.executor.workspaces.publications import Publications, Request, refuse_blocked
from interlock.executor.workspaces.records import Record
from interlock.executor.workspaces.runtime import Runtime

MAX_PATHS = 100
"""Conflicting paths named in an error."""


@dataclass(frozen=True)
class Revert(Request):
    """One wish to revert: `base` is the effect's result, `result` what it stood on."""

    expected_head: bytes = b""
    only_look: bool = False

    @property
    def pair(self) -> bytes:
        """Never that of a publication, whose pair says that an effect was published."""
        return b"revert" + self.base + self.result


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
    """See `Workspaces.revert`; the caller holds the workspace's lock and has settled earlier moves."""
    done = publications.repeated(workspace.id, ask)
    if done is not None:
        return Reverted(done.head_tree, "already", kept=done.kept, kept_count=done.kept_count)
    _check(publications, workspace, head, ask)
    store, registry = publications.store, publications.registry
    base, before = (
        publications.known(workspace.id, ask.base)[0],
        publications.known(workspace.id, ask.result)[0],
    )
    scanned, _ = publications.look(workspace, runtime, head)
    live = scanned.snapshot
    outcome = merge(store, base, before, live, fine=True)
    if outcome.snapshot is None:
        paths = list(_files(store, outcome.conflicts, base, before, live))
        raise _conflict(store, paths, base, head)
    target = outcome.snapshot
    changes = compare(store, live, target, publications.limits)
    refuse_blocked(scanned.skipped, changes)
    refuse_closed(changes)
    if target.tree not in (before.tree, live.tree):
        registry.put_snapshot(workspace.id, target, totals_after(store, scanned.totals, changes))
    how: Literal["published", "merged"] = "published" if target.tree == before.tree else "merged"
    done_tree, live_tree = digest_text(target.tree), digest_text(live.tree)
    if ask.only_look:
        return Reverted(done_tree, how, live_tree)
    if not changes and target.tree == head.tree:
        registry.answer(workspace.id, ask.key, ask.pair, head.tree, how)
        return Reverted(done_tree, how, live_tree)
    token = os.urandom(8).hex()
    record = Record(workspace.id, token, head.tree, live.tree, target.tree, ask.cause, ask.key, ask.pair, how)
    kept = publications.move(record, runtime)
    return Reverted(done_tree, how, live_tree, kept, len(kept))


def _check(publications: Publications, workspace: Workspace, head: Snapshot, ask: Revert) -> None:
    """Only what was published can be taken back: any other pair of trees would publish something unasked."""
    if not publications.registry.was_published(workspace.id, ask.result + ask.base):
        raise InterlockError(
            Reason.TREE_NOT_FOUND,
            "No effect that led from `to_tree` to `from_tree` was published in this workspace.",
            field="from_tree",
            fix="Name the result and the base tree of a step that has succeeded.",
        )
    if ask.expected_head not in (b"", head.tree):
        raise InterlockError(
            Reason.WORKSPACE_HEAD_MOVED,
            f"The workspace's head is {digest_text(head.tree)}, not {digest_text(ask.expected_head)}.",
            field="expected_head",
            metadata={"head_tree": digest_text(head.tree)},
        )


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


def _conflict(store: Store, paths: list[bytes], base: Snapshot, head: Snapshot) -> InterlockError:
    named = ", ".join(shown(path) for path in paths[:20])
    more = f" and {len(paths) - 20} more" if len(paths) > 20 else ""
    later = sum(_entry(store, base, path) != _entry(store, head, path) for path in paths)
    return InterlockError(
        Reason.REVERT_CONFLICT,
        f"What the step changed was changed again since: {named}{more}. Nothing was reverted.",
        fix="Revert the later steps first, or roll the run back; or put these files right by hand.",
        metadata={
            "paths": "\n".join(shown(path) for path in paths[:MAX_PATHS]),
            "conflicts": str(len(paths)),
            "later_steps": str(later),
            "directory": str(len(paths) - later),
        },
    )
