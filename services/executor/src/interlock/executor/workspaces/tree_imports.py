"""A workspace made of a tree that is in the store already: a fork costs a checkout, and no second import.

The files are written into a private directory beside the destination and take its place in one rename (see `places`):
whoever looks sees nothing, or all of it. An empty destination gives its owner and mode to what takes its place.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from interlock.common.clock import Clock
from interlock.common.digests import digest_bytes
from interlock.common.errors import InterlockError, Reason
from interlock.executor.files import failpoints, kernel
from interlock.executor.files.names import join, shown
from interlock.executor.files.remove import remove_path
from interlock.executor.files.root import Root
from interlock.executor.snapshots.checkout import checkout
from interlock.executor.snapshots.database import disk_full
from interlock.executor.snapshots.model import DIRECTORY, FILE, Snapshot, Times
from interlock.executor.snapshots.scan import ProgressFn, StatCache, signature
from interlock.executor.snapshots.store import Store, missing
from interlock.executor.workspaces.imports import Imports
from interlock.executor.workspaces.layout import Layout
from interlock.executor.workspaces.lineage import source_of_fork
from interlock.executor.workspaces.livedir import check_place
from interlock.executor.workspaces.model import TreeSource, Workspace
from interlock.executor.workspaces.places import begin, discard, owner_of
from interlock.executor.workspaces.registry import Registry

_TICK_SECONDS: Final = 0.03
"""Longer than the coarsest tick of a file system's fine time stamps: what was written before it is told apart."""


@dataclass(frozen=True)
class TreeImports:
    """Creates workspaces from trees, beside `Imports`, whose lock and directories it shares."""

    layout: Layout
    store: Store
    registry: Registry
    imports: Imports
    clock: Clock

    def create(
        self,
        name: str,
        source: TreeSource,
        labels: Mapping[str, str],
        limits: Mapping[str, int],
        progress: ProgressFn | None,
    ) -> Workspace:
        """Check the tree out as the workspace `name`. On any failure nothing of it stays,
        but for a directory that has taken the place the source names.

        Raises WORKSPACE_NOT_FOUND and TREE_NOT_FOUND (of the source), WORKSPACE_EXISTS, WORKSPACE_SOURCE_INVALID.
        """
        origin = self.registry.get(source.workspace)
        tree = digest_bytes(source.tree)
        known = self.registry.snapshot(origin.id, tree)
        if known is None:
            raise missing(tree)
        self._require_head(origin.id, source.tree)
        snapshot, totals = known
        workspace = self._enter(name, source, labels, limits or origin.limits)
        try:
            self.registry.put_snapshot(
                name, snapshot, totals
            )  # from here on the tree is in use by this one, too
            self._write(workspace, snapshot, progress)
            self._base(workspace, snapshot, progress)
            self.imports.places.put(workspace, snapshot, totals, "fork", replace=True)
        except BaseException as error:
            self._undo(workspace)
            if isinstance(error, OSError):
                raise _failed(error) from error
            raise

        return replace(
            workspace,
            managed=True,
            head=source.tree,
            entries=totals.entries,
            content_bytes=totals.content_bytes,
        )

    def clean_up(self) -> None:
        """Finish what was placed when it was cut off, for `Imports` too, whose `clean_up` removes the others."""
        self.imports.places.settle()

    def _require_head(self, workspace: str, tree: str) -> None:
        """Raises TREE_NOT_FOUND for a tree the workspace never was at: a preview waiting to be approved is one."""
        if all(head.tree != tree for head in self.registry.heads(workspace)):
            raise InterlockError(
                Reason.TREE_NOT_FOUND,
                f"Workspace {workspace} was never at {tree}.",
                field="source.tree.tree",
                fix="Name a tree of its snapshots; a prepared effect is published by applying it.",
            )

    def _enter(
        self, name: str, source: TreeSource, labels: Mapping[str, str], limits: Mapping[str, int]
    ) -> Workspace:
        with self.imports.lock:
            closed, taken = (self.layout.root, *self.imports.closed), self.registry.lives()
            live = self.layout.live / name
            if source.destination is not None:
                live = check_place(source.destination, closed, taken)
                _check_vacant(source.destination)
            workspace = Workspace(
                id=name,
                live=live,
                managed=False,
                head="",
                entries=0,
                content_bytes=0,
                created=self.clock.now(),
                source=source_of_fork(source.tree, source.workspace),
                labels=dict(labels),
                limits=dict(limits),
            )
            self.registry.add(workspace)
        return workspace

    def _write(self, workspace: Workspace, snapshot: Snapshot, progress: ProgressFn | None) -> None:
        with begin(workspace.live, workspace.id) as root:
            failpoints.hit("fork.staging")
            checkout(self.store, snapshot, root, owner_of(workspace.live), progress)
            kernel.syncfs(root.fd)
            failpoints.hit("fork.written")
            # Before anybody else can write there: what is entered is what was written.
            self.registry.save_cache(workspace.id, self._cache(root, snapshot))

    def _base(self, workspace: Workspace, snapshot: Snapshot, progress: ProgressFn | None) -> None:
        remove_path(self.layout.workspace(workspace.id))
        self.layout.make(self.layout.workspace(workspace.id), 0o700)
        self.layout.make(self.layout.base(workspace.id), 0o755)
        self.layout.make(self.layout.forks(workspace.id), 0o700)
        with self.layout.open_base(workspace.id) as base:
            checkout(self.store, snapshot, base, self.layout.owner, progress)
            kernel.syncfs(base.fd)
        failpoints.hit("fork.checked-out")

    def _cache(self, root: Root, snapshot: Snapshot) -> StatCache:
        """What a reading of the directory would see, without reading the files.

        Only a file that still has the size, mode and time it was written with is entered: any other one, and one
        whose time is not known, is read when the directory is looked at.
        """
        time.sleep(_TICK_SECONDS)  # a write in the tick of ours would leave no trace
        cache = StatCache()
        waiting: list[tuple[bytes, Snapshot]] = [(b"", snapshot)]
        while waiting:
            path, here = waiting.pop()
            times = self.store.times(here.times)
            for name, entry in self.store.directory_entries(here.tree).items():
                time_of = times.get(name)
                if entry.kind == DIRECTORY:
                    inner = Snapshot(entry.value, time_of.child if time_of else b"")
                    waiting.append((join(path, name), inner))
                elif entry.kind == FILE and time_of is not None:
                    self._enter_file(cache, root, path, name, entry.value, entry.mode, time_of)
        return cache

    def _enter_file(
        self, cache: StatCache, root: Root, path: bytes, name: bytes, content: bytes, mode: int, known: Times
    ) -> None:
        status = root.lstat(join(path, name))
        if status is None or not stat.S_ISREG(status.st_mode):
            return
        found = (status.st_mtime_ns, status.st_size, stat.S_IMODE(status.st_mode))
        if found == (known.mtime_ns, self.store.size(content), mode):
            cache.files.setdefault(path, {})[name] = (signature(status), content)

    def _undo(self, workspace: Workspace) -> None:
        discard(workspace.live, workspace.id)
        remove_path(self.layout.workspace(workspace.id))
        self.registry.forget_failed(workspace.id)


def _check_vacant(path: Path) -> None:
    """Raises WORKSPACE_SOURCE_INVALID unless nothing is there, or an empty directory, in a directory that exists."""
    try:
        if not stat.S_ISDIR(os.stat(path.parent).st_mode):
            raise _invalid(path, "has a parent that is not a directory", "Name a place in a directory.")
        if not os.path.lexists(path):
            return
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise _invalid(path, "exists and is not a directory", "Name a directory that is absent or empty.")
        if os.path.ismount(path):
            raise _invalid(path, "is a mount point", "Name a directory in it.")
        with os.scandir(path) as entries:
            if next(entries, None) is not None:
                raise _invalid(path, "is not empty", "Name a directory that is absent or empty.")
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise _invalid(path, f"cannot be used: {why}", "Make its parent directory first.") from None


def _invalid(path: Path, why: str, fix: str) -> InterlockError:
    return InterlockError(
        Reason.WORKSPACE_SOURCE_INVALID, f"{shown(str(path))} {why}.", field="source.tree.path", fix=fix
    )


def _failed(error: OSError) -> InterlockError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full("Nothing of the new workspace stays.")
    why = os.strerror(error.errno or 0)
    return InterlockError(
        Reason.WORKSPACE_SOURCE_INVALID,
        f"The tree cannot be written to the new workspace's directory: {why}.",
        field="source.tree.path",
        fix="Check that the executor's user may write there, that the disk has space, and that it is still empty.",
    )
