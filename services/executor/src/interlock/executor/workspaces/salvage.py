"""What can still be done for a workspace when objects that a begun move needs are damaged or gone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, TypeVar

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.names import shown
from interlock.executor.files.remove import remove_tree
from interlock.executor.files.root import Root
from interlock.executor.snapshots.apply import STAGING, Application, staging_name
from interlock.executor.snapshots.compare import compare, iterate, walk
from interlock.executor.snapshots.model import Limits, Snapshot
from interlock.executor.snapshots.problems import lost_object
from interlock.executor.snapshots.scan import StatCache, scan
from interlock.executor.snapshots.store import Store
from interlock.executor.snapshots.target import Target
from interlock.executor.workspaces.layout import Layout
from interlock.executor.workspaces.livedir import open_live
from interlock.executor.workspaces.model import Workspace
from interlock.executor.workspaces.records import Record
from interlock.executor.workspaces.registry import Registry

T = TypeVar("T")

_MOST: Final = 16
"""Objects that are looked for before a move is given up: each costs reading both directories."""


@dataclass(frozen=True)
class Salvage:
    """The caller holds the workspace's lock."""

    layout: Layout
    store: Store
    registry: Registry
    limits: Limits

    def mending(self, workspace: str, act: Callable[[], T]) -> T:
        """`act`, which can be done again, as often as what it lacked was found in the workspace's directories."""
        tried: set[bytes] = set()
        while True:
            try:
                return act()
            except InterlockError as error:
                lost = lost_object(error)
                if lost is None or lost in tried or len(tried) == _MOST:
                    raise
                tried.add(lost)
                if not self._found(self.registry.get(workspace), lost):
                    raise

    def _found(self, workspace: Workspace, lost: bytes) -> bool:
        """Whether the object is in the store again: the base or the live directory had it.

        That one has what a move displaced, too, as long as its staging directory is there.
        """
        self.store.give_up(lost)
        for own in (True, False):
            try:
                with self.layout.open_base(workspace.id) if own else open_live(workspace.live) as root:
                    self._store_all(root, unlock=own)
            except (InterlockError, OSError) as error:
                if isinstance(error, InterlockError) and error.reason is Reason.STORE_FULL:
                    raise
            if self.store.has(lost):
                return True
        return False

    def _store_all(self, root: Root, *, unlock: bool) -> None:
        tree = scan(root, self.store.batch(), StatCache(), self.limits, unlock=unlock).snapshot.tree
        entries = self.store.directory_entries(tree)
        without = {name: entry for name, entry in entries.items() if not name.startswith(STAGING)}
        batch = self.store.batch()
        batch.put_directory(without)
        batch.commit()

    def take_back_by_looking(self, record: Record, *, turned: bool) -> bool:
        """Take back a move whose target cannot be read: the directories themselves tell what was done.

        The live directory is changed when the base shows the whole target, and `mending` has looked there: a target
        that is still unknown was not reached in the base, so the live directory was not begun. Once `turned`, the base
        is on its way back, or was: then the live directory, which goes first there, has to show that it is back.
        False: it cannot be done. Raises OSError, and typed errors as `scan` does.
        """
        if self._whole(record.target) or not self._whole(record.base) or not self._whole(record.live):
            return False
        with ExitStack() as opened:
            roots = [opened.enter_context(self.layout.open_base(record.workspace))]
            if record.live is not None:
                live = opened.enter_context(open_live(self.registry.get(record.workspace).live))
                if turned and not self._unchanged(record, live, record.live):
                    return False
                roots.append(live)
            for root in roots:
                for name in _staging(record):
                    remove_tree(root.fd, name)
            self._base_back(record, roots[0])
        return True

    def _whole(self, tree: bytes | None) -> bool:
        """Whether all directories of a tree can be read."""
        try:
            for _ in walk(self.store, tree) if tree else ():
                pass
        except InterlockError as error:
            if lost_object(error) is None:
                raise
            return False
        return True

    def _unchanged(self, record: Record, live: Root, tree: bytes) -> bool:
        now = scan(live, self.store.batch(), StatCache(), self.limits).snapshot
        changes = iterate(self.store, now, self._snapshot(record, tree))
        return all(change.path.partition(b"/")[0] in _staging(record) for change in changes)

    def _base_back(self, record: Record, base: Root) -> None:
        now = scan(base, self.store.batch(), StatCache(), self.limits, unlock=True).snapshot
        old = self._snapshot(record, record.base)
        target = Target(base, "publish.back.base", self.layout.owner, redo=True)
        work = Application(self.store, target, compare(self.store, now, old), old, record.token + "-back")
        work.stage()
        work.flush()
        work.run()
        work.sync()

    def _snapshot(self, record: Record, tree: bytes) -> Snapshot:
        known = self.registry.snapshot(record.workspace, tree)
        return known[0] if known else Snapshot(tree)


def quarantined(workspace: Workspace, lost: InterlockError) -> InterlockError:
    """WORKSPACE_QUARANTINED, because of an object that cannot be had again."""
    return InterlockError(
        Reason.WORKSPACE_QUARANTINED,
        f"A publication in workspace {workspace.id} stopped half-way, and can be neither finished nor taken back. "
        f"{lost.message} Files of its directory {shown(str(workspace.live))} are of either state.",
        fix="Put the executor's store back from a backup, then use the workspace again; or move the directory "
        "to another place, look through it, and make a new workspace of it there: `interlock workspace create DIR`.",
        metadata={
            "workspace": workspace.id,
            "directory": shown(str(workspace.live)),
            "object": lost.metadata["object"],
        },
    )


def _staging(record: Record) -> tuple[bytes, bytes]:
    return staging_name(record.token), staging_name(record.token + "-back")
