"""A workspace made of a tree that is in the store already: a fork costs a checkout, and no second import.

The files are written into a private directory beside the destination and take its place in one rename: whoever looks
sees nothing, or all of it. An existing empty destination gives its owner and mode to what takes its place.
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

from interlock.common.clock import Clock, rfc3339
from interlock.common.digests import digest_bytes
from interlock.common.errors import InterlockError, Reason
from interlock.executor.files import failpoints, kernel
from interlock.executor.files.names import join, shown
from interlock.executor.files.remove import remove_path, remove_tree
from interlock.executor.files.root import Root
from interlock.executor.snapshots.checkout import checkout
from interlock.executor.snapshots.database import disk_full
from interlock.executor.snapshots.model import DIRECTORY, FILE, Owner, Snapshot, Times
from interlock.executor.snapshots.scan import ProgressFn, StatCache, signature
from interlock.executor.snapshots.store import Store, missing
from interlock.executor.workspaces.imports import Imports
from interlock.executor.workspaces.layout import Layout
from interlock.executor.workspaces.livedir import check_place, open_live
from interlock.executor.workspaces.model import TreeSource, Workspace
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
        self, name: str, source: TreeSource, labels: Mapping[str, str], progress: ProgressFn | None
    ) -> Workspace:
        """Check the tree out as the workspace `name`. On any failure nothing of it stays.

        Raises WORKSPACE_NOT_FOUND and TREE_NOT_FOUND (of the source), WORKSPACE_EXISTS, WORKSPACE_SOURCE_INVALID.
        """
        origin = self.registry.get(source.workspace)
        tree = digest_bytes(source.tree)
        known = self.registry.snapshot(origin.id, tree)
        if known is None:
            raise missing(tree)
        snapshot, totals = known
        workspace = self._enter(name, source, labels)
        made = False
        try:
            self.registry.put_snapshot(
                name, snapshot, totals
            )  # from here on the tree is in use by this one, too
            self._write(workspace, snapshot, progress)
            failpoints.hit("fork.written")
            self.registry.made_live(name)
            made = True
            failpoints.hit("fork.entered")
            self._take_place(workspace)
            failpoints.hit("fork.placed")
            self._base(workspace, snapshot, progress)
            self.registry.save_cache(name, self._cache(workspace, snapshot))
            self.registry.imported(name, snapshot, totals, rfc3339(self.clock.now()))
            failpoints.hit("fork.done")
        except BaseException as error:
            self._undo(workspace, made=made)
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
        """Remove the private directories of forks that were cut off; `Imports.clean_up` does the rest."""
        for name, live, _ in self.registry.unfinished():
            remove_path(_staging(live, name))

    def _enter(self, name: str, source: TreeSource, labels: Mapping[str, str]) -> Workspace:
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
                source=f"tree {source.tree} of {source.workspace}",
                labels=dict(labels),
            )
            self.registry.add(workspace)
        return workspace

    def _write(self, workspace: Workspace, snapshot: Snapshot, progress: ProgressFn | None) -> None:
        staging = _staging(workspace.live, workspace.id)
        with Root.open_exact(workspace.live.parent) as parent:
            name = os.fsencode(staging.name)
            remove_tree(parent.fd, name)
            os.mkdir(name, 0o700, dir_fd=parent.fd)
            fd = parent.open_dir(name)
        with Root(fd) as root:
            failpoints.hit("fork.staging")
            checkout(self.store, snapshot, root, _owner(workspace.live), progress)
            kernel.syncfs(root.fd)

    def _take_place(self, workspace: Workspace) -> None:
        """Rename what was written over the destination, which is absent or still empty."""
        live = workspace.live
        with Root.open_exact(live.parent) as parent:
            old, new = os.fsencode(_staging(live, workspace.id).name), os.fsencode(live.name)
            there = parent.lstat(new)
            owner = _owner(live)
            if owner is not None:
                os.chown(old, owner.uid, owner.gid, dir_fd=parent.fd, follow_symlinks=False)
            os.chmod(old, stat.S_IMODE(there.st_mode) if there else 0o755, dir_fd=parent.fd)
            os.rename(old, new, src_dir_fd=parent.fd, dst_dir_fd=parent.fd)
            os.fsync(parent.fd)

    def _base(self, workspace: Workspace, snapshot: Snapshot, progress: ProgressFn | None) -> None:
        remove_path(self.layout.workspace(workspace.id))
        self.layout.make(self.layout.workspace(workspace.id), 0o700)
        self.layout.make(self.layout.base(workspace.id), 0o755)
        self.layout.make(self.layout.forks(workspace.id), 0o700)
        with self.layout.open_base(workspace.id) as base:
            checkout(self.store, snapshot, base, self.layout.owner, progress)
            kernel.syncfs(base.fd)
        failpoints.hit("fork.checked-out")

    def _cache(self, workspace: Workspace, snapshot: Snapshot) -> StatCache:
        """What a reading of the directory would see, without reading the files.

        Only a file that still has the size, mode and time it was written with is entered: any other one, and one
        whose time is not known, is read when the directory is looked at.
        """
        time.sleep(_TICK_SECONDS)  # a write in the tick of ours would leave no trace
        cache = StatCache()
        waiting: list[tuple[bytes, Snapshot]] = [(b"", snapshot)]
        with open_live(workspace.live) as root:
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

    def _undo(self, workspace: Workspace, *, made: bool) -> None:
        remove_path(_staging(workspace.live, workspace.id))
        if made:
            remove_path(workspace.live)
        remove_path(self.layout.workspace(workspace.id))
        self.registry.forget_failed(workspace.id)


def _staging(live: Path, name: str) -> Path:
    return live.parent / f".interlock-{name}"


def _owner(live: Path) -> Owner | None:
    """Whom the files belong to where this process may choose: who owns the directory, or will own its place."""
    if os.geteuid() != 0:
        return None
    status = os.lstat(live if os.path.lexists(live) else live.parent)
    return Owner(status.st_uid, status.st_gid)


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
