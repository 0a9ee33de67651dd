"""Where things are below the executor's directory, and who owns them.

    <root>/lock                       held by the one executor that uses the directory
    <root>/store/                     the snapshot store, shared by all workspaces
    <root>/workspaces.db              the register
    <root>/workspaces/<id>/base/      the executor's own checkout of the head
    <root>/workspaces/<id>/forks/<fork>/{up,wk}
    <root>/scratch/                   what is about to be removed
    <root>/live/<id>/                 live directories that the executor made (clones, archives)

`workspaces/<id>` and all below belongs to the step's uid and is closed to every other ordinary user; the step's uid
must be able to traverse `<root>` and its parents.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.root import Root
from interlock.executor.files.scratch import Scratch
from interlock.executor.snapshots.model import Owner


class Layout:
    """Paths below one executor's directory, which is created where it is absent."""

    def __init__(self, root: Path, owner: Owner | None) -> None:
        if owner is not None and os.geteuid() != 0:
            raise InterlockError(
                Reason.INVALID_ARGUMENT, "Only root can give the step's files to another user.", field="owner"
            )
        self.owner = owner
        self.root = Path(os.path.realpath(root))
        self.root.mkdir(parents=True, exist_ok=True)
        os.chmod(self.root, 0o711 if owner else 0o700)
        self.store = self._private("store")
        self.live = self._private("live")
        self.workspaces = self.root / "workspaces"
        self.workspaces.mkdir(exist_ok=True)
        os.chmod(self.workspaces, 0o711 if owner else 0o700)
        self.register = self.root / "workspaces.db"
        self._lock = _lock(self.root / "lock")
        self.scratch = Scratch(self._private("scratch"))

    def close(self) -> None:
        """Give up the lock."""
        self.scratch.close()
        os.close(self._lock)

    def workspace(self, workspace: str) -> Path:
        """Everything the executor keeps for a workspace on disk."""
        return self.workspaces / workspace

    def base(self, workspace: str) -> Path:
        """The executor's own checkout of the head."""
        return self.workspaces / workspace / "base"

    def forks(self, workspace: str) -> Path:
        """The parent of all forks of a workspace."""
        return self.workspaces / workspace / "forks"

    def open_base(self, workspace: str) -> Root:
        """The base directory, open."""
        return Root.open(self.base(workspace))

    def make(self, path: Path, mode: int) -> None:
        """Make a directory that belongs to the step's uid."""
        path.mkdir(mode=0o700)
        if self.owner is not None:
            os.chown(path, self.owner.uid, self.owner.gid)
        os.chmod(path, mode)

    def _private(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(exist_ok=True)
        os.chmod(path, 0o700)
        return path


def _lock(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise InterlockError(
            Reason.UNAVAILABLE,
            f"Another executor is using {path.parent}.",
            fix="Stop it, or set INTERLOCK_EXECUTOR_DIR to another directory.",
        ) from None
    return fd
