"""Publishing a result, and adopting what others did to the live directory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from interlock.common.clock import Clock
from interlock.common.digests import digest_text
from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.names import parent_and_name, shown, to_text
from interlock.executor.files.near import Near
from interlock.executor.files.root import Root
from interlock.executor.snapshots.closed import refuse_closed
from interlock.executor.snapshots.compare import compare, totals_after
from interlock.executor.snapshots.merge import merge
from interlock.executor.snapshots.model import DIRECTORY, Change, Entry, Limits, Snapshot, Totals
from interlock.executor.snapshots.present import Present
from interlock.executor.snapshots.scan import Scanned, StatCache
from interlock.executor.snapshots.store import Store, missing
from interlock.executor.workspaces.livedir import open_live
from interlock.executor.workspaces.model import Drift, PublishResult, Workspace, path_changes
from interlock.executor.workspaces.moves import Moves
from interlock.executor.workspaces.reading import Reader
from interlock.executor.workspaces.records import Record
from interlock.executor.workspaces.registry import Registry
from interlock.executor.workspaces.runtime import Runtime

Look = Literal["everything", "affected"]


@dataclass(frozen=True)
class Request:
    """One wish to publish: from tree, to tree, for what cause, under which key."""

    base: bytes
    result: bytes
    cause: str
    key: str
    look: Look

    @property
    def pair(self) -> bytes:
        """What must be equal for a repeated key to mean the same request."""
        return self.base + self.result


@dataclass(frozen=True)
class Publications:
    """The caller holds the workspace's lock and has settled earlier moves."""

    store: Store
    registry: Registry
    moves: Moves
    limits: Limits
    clock: Clock
    reader: Reader

    def known(self, workspace: str, tree: bytes) -> tuple[Snapshot, Totals]:
        """A tree of this workspace. Raises TREE_NOT_FOUND for one that never was its head or a result for it."""
        found = self.registry.snapshot(workspace, tree)
        if found is None:
            raise missing(tree)
        return found

    def look(self, workspace: Workspace, runtime: Runtime, head: Snapshot) -> tuple[Scanned, Drift | None]:
        """Read the live directory; what differs from `head` is entered in the register as a tree."""
        with open_live(workspace.live) as live:
            scanned = self.reader.read(workspace.id, workspace.live, live, runtime.cache)
        if scanned.snapshot.tree == head.tree:
            return scanned, None
        self.registry.put_snapshot(workspace.id, scanned.snapshot, scanned.totals)
        changes = compare(self.store, head, scanned.snapshot, self.limits)
        skipped = tuple(to_text(path) for path in scanned.skipped)
        drift = Drift(
            digest_text(head.tree),
            digest_text(scanned.snapshot.tree),
            path_changes(self.store, changes),
            skipped,
        )
        return scanned, drift

    def adopt(self, workspace: Workspace, runtime: Runtime, head: Snapshot) -> tuple[Snapshot, Drift | None]:
        """Make what others did the head. No fork may be running on the base."""
        scanned, drift = self.look(workspace, runtime, head)
        if drift is None:
            return head, None
        record = Record(workspace.id, _token(), head.tree, None, scanned.snapshot.tree, "drift")
        self.moves.perform(record, runtime)
        return scanned.snapshot, drift

    def publish(self, workspace: Workspace, runtime: Runtime, head: Snapshot, ask: Request) -> PublishResult:
        """See `Workspaces.publish`."""
        before = self.repeated(workspace.id, ask)
        if before is not None:
            return before
        base, size = self.known(workspace.id, ask.base)
        result, _ = self.known(workspace.id, ask.result)
        if head.tree != ask.base and not self.only_drift_since(workspace.id, ask.base):
            raise _head_moved(ask.base, head.tree)
        if ask.look == "everything":
            scanned, drift = self.look(workspace, runtime, head)
            live = scanned.snapshot
        else:
            live, drift = head, None
        target = self.merged(base, result, live)
        changes = compare(self.store, base, result, self.limits)
        refuse_closed(changes)
        if ask.look == "everything":
            refuse_blocked(scanned.skipped, changes)
        if target.tree not in (result.tree, live.tree):
            after = compare(self.store, base, target)
            self.registry.put_snapshot(workspace.id, target, totals_after(self.store, size, after))
        how: Literal["published", "merged"] = "published" if target.tree == result.tree else "merged"
        if not changes and target.tree == head.tree:
            if ask.key:
                self.registry.answer(workspace.id, ask.key, ask.pair, head.tree, how)
            return PublishResult(digest_text(head.tree), how, drift)
        record = Record(
            workspace.id, _token(), head.tree, live.tree, target.tree, ask.cause, ask.key, ask.pair, how
        )
        kept = self.move(record, runtime)
        return PublishResult(digest_text(target.tree), how, drift, kept, len(kept))

    def move(self, record: Record, runtime: Runtime) -> tuple[str, ...]:
        """Perform a move that changes the live directory, whose paths are looked at first."""

        def check(live: Root, changes: list[Change]) -> None:
            self.check_affected(record.workspace, runtime, live, changes)

        return self.moves.perform(record, runtime, check)

    def repeated(self, workspace: str, ask: Request) -> PublishResult | None:
        """The answer to a request that was carried out before."""
        if not ask.key:
            return None
        found = self.registry.publication(workspace, ask.key)
        if found is None:
            return None
        if found.request != ask.pair:
            raise InterlockError(
                Reason.REQUEST_ID_REUSED,
                f"{shown(ask.key)} was used to publish another effect.",
                field="key",
            )
        return PublishResult(digest_text(found.head), "already", kept=found.kept, kept_count=found.kept_count)

    def only_drift_since(self, workspace: str, tree: bytes) -> bool:
        """Whether the head moved from `tree` by nothing but what others did to the live directory."""
        wanted, number = digest_text(tree), 0
        for head in reversed(self.registry.heads(workspace)):
            if number and head.number != number - 1:
                return False  # what was between is past retention
            number = head.number
            if head.tree == wanted:
                return True
            if head.cause != "drift":
                return False
        return False

    def merged(self, base: Snapshot, result: Snapshot, live: Snapshot) -> Snapshot:
        """The result with others' disjoint changes. Raises WORKSPACE_DRIFTED naming overlapping paths."""
        outcome = merge(self.store, base, result, live)
        if outcome.snapshot is None:
            raise drifted(list(outcome.conflicts))
        return outcome.snapshot

    def check_affected(self, workspace: str, runtime: Runtime, live: Root, changes: list[Change]) -> None:
        """Look at the paths about to change, and read them. Raises WORKSPACE_DRIFTED where others changed one.

        Neither what a watch told nor a signature is believed: both can miss a write (through another name of the
        file, through a mapping). Having missed one, all is read at the next look, these files whatever they look like.
        """
        with Near(live.open_path) as near:
            found = overlapping(live, Present(live, StatCache(), near), changes)
        if found:
            self.reader.watches.drop(workspace)
            for path in found:
                parent, name = parent_and_name(path)
                runtime.cache.files.get(parent, {}).pop(name, None)
            raise drifted(found)


def overlapping(live: Root, present: Present, changes: list[Change]) -> list[bytes]:
    """Of the changes about to be made, the paths that are in neither their old nor their new state."""
    found: list[bytes] = []
    by_path = {change.path: change for change in changes}
    parents: set[bytes] = set()
    for change in changes:
        here = present.entry(change.path)
        if not _same(here, change.old) and not _same(here, change.new):
            found.append(change.path)
        parents.add(parent_and_name(change.path)[0])
        if change.old is not None and change.old.kind == DIRECTORY and not _stays(change):
            found.extend(_strangers(live, change.path, by_path))
    for parent in sorted(parents - {b""}):
        status = present.entry(parent)
        if parent not in by_path and (status is None or status.kind != DIRECTORY):
            found.append(parent)
    return sorted(set(found))


def refuse_blocked(skipped: Sequence[bytes], changes: Sequence[Change]) -> None:
    """A socket, fifo or device is in no tree, but where one stands nothing can be written."""
    special = set(skipped)
    inside = {parent_and_name(path)[0] for path in special}
    blocked = [
        change.path
        for change in changes
        if special
        and (
            (change.new is not None and not special.isdisjoint(_with_parents(change.path)))
            or (change.old is not None and not _stays(change) and change.path in inside)
        )
    ]
    if blocked:
        named = ", ".join(shown(path) for path in blocked[:20])
        raise InterlockError(
            Reason.EFFECT_NOT_PUBLISHABLE,
            f"A socket, fifo or device stands where this effect writes or deletes: {named}. Nothing was published.",
            fix="Remove it from the workspace's directory, then `interlock step retry RUN STEP`.",
            metadata={"paths": "\n".join(shown(path) for path in blocked[:20])},
        )


def _with_parents(path: bytes) -> Iterator[bytes]:
    while path:
        yield path
        path = parent_and_name(path)[0]


def drifted(paths: list[bytes]) -> InterlockError:
    """WORKSPACE_DRIFTED naming (up to twenty of) the paths."""
    named = ", ".join(shown(path) for path in paths[:20])
    more = f" and {len(paths) - 20} more" if len(paths) > 20 else ""
    return InterlockError(
        Reason.WORKSPACE_DRIFTED,
        f"Somebody changed what this effect changes: {named}{more}. Nothing was published.",
        fix="`interlock step retry RUN STEP` prepares the step again, on the directory as it is now.",
        metadata={"paths": "\n".join(shown(path) for path in paths[:20])},
    )


def _head_moved(base: bytes, head: bytes) -> InterlockError:
    return InterlockError(
        Reason.WORKSPACE_HEAD_MOVED,
        f"The effect stands on {digest_text(base)}, but the workspace is at {digest_text(head)}.",
        fix="`interlock step retry RUN STEP` prepares the step again, on the present head.",
        metadata={"base": digest_text(base), "head": digest_text(head)},
    )


def _same(found: Entry | None, wanted: Entry | None) -> bool:
    if found is not None and wanted is not None and found.kind == wanted.kind == DIRECTORY:
        return found.mode == wanted.mode
    return found == wanted


def _stays(change: Change) -> bool:
    return change.new is not None and change.new.kind == DIRECTORY


def _strangers(live: Root, path: bytes, known: dict[bytes, Change]) -> list[bytes]:
    """Names in a directory about to go that the head knows nothing of."""
    try:
        fd = live.open_dir(path)
    except OSError:
        return []
    try:
        names = [path + b"/" + os.fsencode(name) for name in os.listdir(fd)]
    finally:
        os.close(fd)
    return [name for name in names if name not in known]


def _token() -> str:
    return os.urandom(8).hex()
