"""Directories at places that callers name: written in private beside the place, and put there in one rename.

    1 write into a private directory beside the place
    2 base, stat cache and tree are in the store and the register; both directories are on the disk
    3 enter this very directory, by device and inode, as about to be placed        ….entered
    4 rename it to the place                                                       ….placed
    5 the workspace is ready                                                       ….done

Killed before 4, the private directory goes. Killed after it, all of the workspace is there, and the next start does 5.
Nothing at a named place is ever removed: its owner may be at work in it from the moment it can be seen.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock.common.clock import Clock, rfc3339
from interlock.common.errors import InterlockError, Reason
from interlock.executor.files import failpoints
from interlock.executor.files.kernel import rename_new
from interlock.executor.files.names import shown
from interlock.executor.files.remove import remove_path, remove_tree
from interlock.executor.files.root import Root
from interlock.executor.snapshots.database import disk_full
from interlock.executor.snapshots.model import Owner, Snapshot, Totals
from interlock.executor.workspaces.layout import Layout
from interlock.executor.workspaces.model import Workspace
from interlock.executor.workspaces.registry import Registry

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """Puts directories in their places, and finishes at a start what was cut off."""

    layout: Layout
    registry: Registry
    clock: Clock

    def put(
        self, workspace: Workspace, snapshot: Snapshot, totals: Totals, points: str, *, replace: bool
    ) -> None:
        """Steps 3 to 5, of a workspace of which 1 and 2 are done. `points` names the failpoints.

        With `replace` an empty directory may be there, which gives its mode to what takes its place.
        Raises OSError before the rename; afterwards InterlockError, with the directory still there.
        """
        live = workspace.live
        with Root.open_exact(live.parent) as parent:
            self._enter(workspace, parent)
            failpoints.hit(f"{points}.entered")
            old, new = os.fsencode(staging(live, workspace.id).name), os.fsencode(live.name)
            _dress(live, parent, old, replace=replace)
            if replace:
                os.rename(old, new, src_dir_fd=parent.fd, dst_dir_fd=parent.fd)
            else:
                rename_new(parent.fd, old, parent.fd, new)
            with self._staying(workspace):
                os.fsync(parent.fd)
                failpoints.hit(f"{points}.placed")
                self._finish(workspace.id, snapshot, totals)
        failpoints.hit(f"{points}.done")

    def settle(self) -> None:
        """At a start: finish what was placed, remove the private directories of everything else that is unfinished.

        A directory that is not the one that was entered is somebody else's, and is left alone.
        """
        for name, live, _, entered in self.registry.unfinished():
            there = _identity(live)
            known = self._known(name) if entered is not None and there == entered else None
            if known is not None:
                self._finish(name, *known)
                _log.warning(
                    "finished the import of %s that was cut off: %s was in its place", name, shown(str(live))
                )
                continue
            discard(live, name)
            if there is not None and self.layout.live not in live.parents:
                _log.warning("the import of %s was cut off; %s is left alone", name, shown(str(live)))

    def _enter(self, workspace: Workspace, parent: Root) -> None:
        status = os.stat(
            os.fsencode(staging(workspace.live, workspace.id).name), dir_fd=parent.fd, follow_symlinks=False
        )
        self.registry.placing(workspace.id, status.st_dev, status.st_ino)

    def _known(self, name: str) -> tuple[Snapshot, Totals] | None:
        found = self.registry.trees_of(name)
        return self.registry.snapshot(name, found[0].tree) if found else None

    def _finish(self, name: str, snapshot: Snapshot, totals: Totals) -> None:
        self.registry.imported(name, snapshot, totals, rfc3339(self.clock.now()))

    @contextmanager
    def _staying(self, workspace: Workspace) -> Iterator[None]:
        """What fails in here leaves a named directory where it is; one of the executor's own goes."""
        try:
            yield
        except (OSError, InterlockError) as error:
            if self.layout.live in workspace.live.parents:
                remove_path(workspace.live)
                raise
            _log.warning(
                "the import of %s failed; %s stays: %s", workspace.id, shown(str(workspace.live)), error
            )
            raise _stays(workspace.live, error) from error


def staging(live: Path, name: str) -> Path:
    """The private directory beside the place of a workspace."""
    return live.parent / f".interlock-{name}"


def begin(live: Path, name: str) -> Root:
    """The private directory, new and empty, open. Raises OSError."""
    with Root.open_exact(live.parent) as parent:
        private = os.fsencode(staging(live, name).name)
        remove_tree(parent.fd, private)
        os.mkdir(private, 0o700, dir_fd=parent.fd)
        return Root(parent.open_dir(private))


def discard(live: Path, name: str) -> None:
    """Remove the private directory, where there is one. One that cannot be removed is logged, and stays."""
    try:
        with Root.open_exact(live.parent) as parent:
            remove_tree(parent.fd, os.fsencode(staging(live, name).name))
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning(
            "%s cannot be removed: %s", shown(str(staging(live, name))), os.strerror(error.errno or 0)
        )


def owner_of(live: Path) -> Owner | None:
    """Whom the files belong to where this process may choose: who owns the directory, or will own its place."""
    if os.geteuid() != 0:
        return None
    status = os.lstat(live if os.path.lexists(live) else live.parent)
    return Owner(status.st_uid, status.st_gid)


def _dress(live: Path, parent: Root, private: bytes, *, replace: bool) -> None:
    """Owner and mode of what is replaced. A clone or an unpacked archive belongs to this process's user."""
    there = parent.lstat(os.fsencode(live.name)) if replace else None
    owner = owner_of(live) if replace else None
    with Root(parent.open_dir(private)) as root:
        if owner is not None:
            os.fchown(root.fd, owner.uid, owner.gid)
        os.fchmod(root.fd, stat.S_IMODE(there.st_mode) if there else 0o755)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _stays(live: Path, error: OSError | InterlockError) -> InterlockError:
    so = f"{shown(str(live))} stays, with all of the files in it, but is no workspace."
    if isinstance(error, InterlockError):
        return InterlockError(error.reason, f"{error.message} {so}", fix=error.fix, metadata=error.metadata)
    if error.errno in _FULL:
        return disk_full(so)
    why = os.strerror(error.errno or 0)
    return InterlockError(
        Reason.WORKSPACE_SOURCE_INVALID,
        f"The import cannot be finished: {why}. {so}",
        fix="Import that directory.",
    )
