"""The directories that a move of files goes through: at its end they have the modes and times they are to have."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from interlock.executor.snapshots.model import DIRECTORY, UNKNOWN_TIME, Entry, Snapshot, Times
from interlock.executor.snapshots.store import Store
from interlock.executor.snapshots.target import Target
from interlock.executor.snapshots.unlock import Unlocker, opened_up


class Touched:
    """Directories of `target`, which becomes `new`, as paths below its root; the root itself is left as it is."""

    def __init__(self, store: Store, target: Target, new: Snapshot) -> None:
        self._store, self._target, self._new = store, target, new
        self._modes: dict[bytes, int | None] = {}
        self._noted: Mapping[bytes, int] = {}

    def add(self, path: bytes) -> None:
        """Something in this directory changes."""
        self._modes.setdefault(path, None)

    def add_noted(self) -> None:
        """Directories that an attempt which was cut off had opened up."""
        if self._target.redo and self._target.modes is not None:
            self._noted = self._target.modes.noted()
        for path in self._noted:
            self.add(path)

    def give(self, path: bytes, mode: int) -> None:
        """This directory is made, or gets this mode."""
        self._modes[path] = mode

    def deepest_first(self) -> list[bytes]:
        """In the order in which they can be settled."""
        return sorted(filter(None, self._modes), key=lambda path: (path.count(b"/"), path), reverse=True)

    def settle(self, path: bytes, unlocker: Unlocker) -> bool:
        """Put mode and time right. Whether it is then to be synced: it was not yet, and is still there."""
        try:
            fd = unlocker.open_dir(path)
        except OSError:
            return False  # removed by this very change, or by somebody meanwhile
        try:
            entry, time = self._look_up(path)
            status = os.fstat(fd)  # what is right already may belong to another, or be closed to changes
            mode = self._mode(path, status, entry, unlocker)
            if mode is not None:
                if stat.S_IMODE(status.st_mode) != mode:
                    os.fchmod(fd, mode)
                unlocker.changed.pop(path, None)
            if time is not None and time.mtime_ns not in (UNKNOWN_TIME, status.st_mtime_ns):
                os.utime(fd, ns=(time.mtime_ns, time.mtime_ns))
            return _synced_later(fd)
        finally:
            os.close(fd)

    def _mode(
        self, path: bytes, status: os.stat_result, entry: Entry | None, unlocker: Unlocker
    ) -> int | None:
        """The mode that a directory is to have; None: the one it has."""
        given = self._modes[path]
        if given is not None:
            return given
        if path in unlocker.changed:
            return unlocker.changed[path]
        if path in self._noted:
            found = self._noted[path]
            # Else it was put back then, or somebody has changed it since.
            return found if stat.S_IMODE(status.st_mode) == opened_up(found) else None
        return entry.mode if entry is not None and self._target.redo and self._target.modes is None else None

    def _look_up(self, path: bytes) -> tuple[Entry | None, Times | None]:
        """Entry and times of a directory in the new tree."""
        here = self._new
        entry: Entry | None = None
        time: Times | None = None
        for part in path.split(b"/"):
            entry = self._store.directory_entries(here.tree).get(part)
            time = self._store.times(here.times).get(part)
            if entry is None or entry.kind != DIRECTORY:
                return None, None
            here = Snapshot(entry.value, time.child if time else b"")
        return entry, time


def _synced_later(fd: int) -> bool:
    if os.geteuid() == 0 or os.fstat(fd).st_mode & 0o500 == 0o500:
        return True
    os.fsync(fd)  # it cannot be opened again without changing its mode
    return False
