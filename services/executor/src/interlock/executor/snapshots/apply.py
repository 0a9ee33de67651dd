"""Moving a directory from one tree to another: staged first, then changed by renames, safe to do again.

    stage     every new file is written, with owner, mode and time, into a private directory below the root
    removals  what goes away or changes its type, deepest first
    entries   directories are made, staged files renamed to their places
    finish    modes and times of touched directories, staging directory gone

What was staged is flushed before the first change, and what was changed at the end, each in one go for all of it.

Only paths that differ between the two trees are looked at, whatever state they are in, so that doing it again after
a crash finishes the work. In a guarded directory (the user's), a path that is in neither its old nor its new state
belongs to somebody who changed it meanwhile: it is left alone and reported. There a file changes its place with what
it replaces, and what is deleted is moved away first; what was displaced is then read, and put back where it is not
what was expected.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from interlock.executor.files import failpoints, kernel
from interlock.executor.files.names import parent_and_name
from interlock.executor.files.remove import remove_tree
from interlock.executor.files.root import Root, chmod_fd
from interlock.executor.snapshots.displaced import Displaced
from interlock.executor.snapshots.model import (
    DIRECTORY,
    FILE,
    SET_ID,
    UNKNOWN_TIME,
    Change,
    Entry,
    Owner,
    Snapshot,
    Times,
    file_entry,
)
from interlock.executor.snapshots.present import Present
from interlock.executor.snapshots.store import Store
from interlock.executor.snapshots.unlock import Unlocker
from interlock.executor.snapshots.write import sync_path, write_entry

_SYNC_ONE_BY_ONE: Final = 64  # beyond, one syncfs is cheaper than that many fsyncs


class Applied(NamedTuple):
    """Paths driven to their new state, and paths left alone because somebody changed them meanwhile."""

    changed: int
    kept: tuple[bytes, ...]


@dataclass(frozen=True)
class Target:
    """A directory to be changed.

    Args:
        root: the directory.
        point: prefix of its failpoints.
        owner: whom new files are given to; None leaves them this process's.
        redo: an earlier attempt may have been cut off: put touched directories' modes right, too.
        inherit: give a new file the owner of what it replaces, or of its parent (needs root).
        guard: knows what is really there; None for a directory that nobody else writes to.
    """

    root: Root
    point: str
    owner: Owner | None = None
    inherit: bool = False
    redo: bool = False
    guard: Present | None = None


class Application:
    """One move of one directory from `old` to `new`. Call `stage`, `flush`, `run`, `sync`.

    Where one of the first two failed, call `cancel` instead.
    """

    def __init__(
        self, store: Store, target: Target, changes: list[Change], new: Snapshot, token: str
    ) -> None:
        self.store, self.target, self.new = store, target, new
        self.changes = [_without_set_id(change) for change in changes]
        self.root = target.root
        self.staging = staging_name(token)
        self.kept: list[bytes] = []
        self.touched: dict[bytes, int | None] = {}
        self.staged: dict[int, str] = {}
        self.displaced = Displaced(self.root, self.staging, self.changes)
        self.at = b""
        self.unsynced: list[bytes] = []
        self.shared: set[bytes] = set()

    def stage(self) -> None:
        """Write all new content. Changes nothing but the staging directory. Raises OSError (ENOSPC …)."""
        self.clear()
        self.shared = {c.path for c in self.changes if self.is_shared(c)}
        wanted = [(i, c) for i, c in enumerate(self.changes) if self.is_written(c) and not self.is_done(c)]
        if not wanted:
            return
        few = len(wanted) <= _SYNC_ONE_BY_ONE
        fd = self.displaced.open()
        try:
            for index, change in wanted:
                self.at = change.path
                assert change.new is not None
                owner = self.owner_of(change.path)
                write_entry(
                    self.store, fd, b"%d" % index, change.new, change.new_mtime_ns, owner, begin_sync=few
                )
                self.staged[index] = change.new.kind
                failpoints.hit(self.target.point + ".staged")
        finally:
            os.close(fd)

    def flush(self) -> None:
        """What was staged is on the disk on return. Raises OSError.

        Writing back was begun when each file was written, so that all of them share a commit of the file system.
        """
        self.sync_all(
            [b"%s/%d" % (self.staging, index) for index, kind in self.staged.items() if kind == FILE]
        )

    def cancel(self) -> None:
        """Remove the staging directory, if there is one."""
        self.displaced.close()
        remove_tree(self.root.fd, self.staging)

    def clear(self) -> None:
        """Remove what an attempt that was cut off has left; what it displaced of somebody else's is put back."""
        if self.target.redo and self.target.guard is not None:
            self.displaced.rescue()
        self.cancel()

    def run(self) -> Applied:
        """Change the directory; `sync` makes it durable. Raises OSError, after which doing it again is right."""
        with Unlocker(self.root) as unlocker:
            for index in reversed(range(len(self.changes))):
                if _needs_removal(self.changes[index]):
                    self.at_parent(unlocker, self.changes[index], self.remover(index))
            for index, change in enumerate(self.changes):
                if change.new is not None:
                    self.at_parent(unlocker, change, self.placer(index, change.new))
            self.kept += self.displaced.changed_since()
            self.finish(unlocker)
        self.cancel()
        failpoints.hit(self.target.point + ".done")
        return Applied(len(self.changes) - len(self.kept), tuple(sorted(set(self.kept))))

    def at_parent(
        self, unlocker: Unlocker, change: Change, act: Callable[[int, bytes, Change], None]
    ) -> None:
        parent, name = parent_and_name(change.path)
        self.at = change.path
        try:
            fd = unlocker.open_dir(parent, writable=True)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV):
                raise
            if change.new is not None:
                self.kept.append(change.path)
            return
        try:
            self.touched.setdefault(parent, None)
            act(fd, name, change)
        finally:
            os.close(fd)
        failpoints.hit(self.target.point + ".entry")

    def remover(self, index: int) -> Callable[[int, bytes, Change], None]:
        return lambda fd, name, change: self.remove(fd, name, change, index)

    def remove(self, fd: int, name: bytes, change: Change, index: int) -> None:
        present = _lstat(fd, name)
        if present is None:
            return
        if stat.S_ISDIR(present.st_mode):
            if change.old is not None and change.old.kind == DIRECTORY:
                self.remove_directory(fd, name, change)
            elif change.new is None:
                self.kept.append(change.path)
            return
        if change.old is None or change.old.kind == DIRECTORY:
            return  # already replaced, or somebody's; `place` looks again
        if self.is_other(change, present):
            self.kept.append(change.path)
            return
        if self.target.guard is None:
            os.unlink(name, dir_fd=fd)
        elif not self.displaced.take_away(index, fd, name):
            self.kept.append(change.path)

    def remove_directory(self, fd: int, name: bytes, change: Change) -> None:
        try:
            os.rmdir(name, dir_fd=fd)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if self.target.guard is None:
                remove_tree(fd, name)
            else:
                self.kept.append(change.path)

    def placer(self, index: int, new: Entry) -> Callable[[int, bytes, Change], None]:
        def place(fd: int, name: bytes, change: Change) -> None:
            present = _lstat(fd, name)
            if new.kind == DIRECTORY:
                self.place_directory(fd, name, change, new, present)
            elif change.kind == "mode" and change.path not in self.shared:
                self.place_mode(fd, name, change, new, present)
            else:
                self.place_file(fd, name, change, index, present)

        return place

    def place_directory(
        self, fd: int, name: bytes, change: Change, new: Entry, present: os.stat_result | None
    ) -> None:
        if present is not None and not stat.S_ISDIR(present.st_mode):
            self.kept.append(change.path)
            return
        if present is None:
            owner = self.owner_of(change.path)
            os.mkdir(name, 0o700, dir_fd=fd)
            if owner is not None:
                os.chown(name, owner.uid, owner.gid, dir_fd=fd, follow_symlinks=False)
        self.touched[change.path] = new.mode

    def place_mode(
        self, fd: int, name: bytes, change: Change, new: Entry, present: os.stat_result | None
    ) -> None:
        if present is None or not stat.S_ISREG(present.st_mode):
            self.kept.append(change.path)
            return
        if stat.S_IMODE(present.st_mode) == new.mode:
            return
        if self.is_other(change, present):
            self.kept.append(change.path)
            return
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        try:
            chmod_fd(handle, new.mode)
        finally:
            os.close(handle)

    def place_file(
        self, fd: int, name: bytes, change: Change, index: int, present: os.stat_result | None
    ) -> None:
        if present is not None and (stat.S_ISDIR(present.st_mode) or self.is_other(change, present)):
            self.kept.append(change.path)
            return
        if index not in self.staged:
            # It was already in place; or somebody took that place since.
            if not self.is_done(change):
                self.kept.append(change.path)
            return
        source = b"%s/%d" % (self.staging, index)
        if self.target.guard is None:
            os.rename(source, name, src_dir_fd=self.root.fd, dst_dir_fd=fd)
            return
        try:
            if present is not None and not self.displaced.swap(index, fd, name):
                self.kept.append(change.path)
            elif present is None:
                kernel.rename_new(self.root.fd, source, fd, name)
        except (FileExistsError, FileNotFoundError):
            self.kept.append(change.path)

    def is_written(self, change: Change) -> bool:
        """Whether the change is made by putting a new file in place."""
        return _needs_content(change) or change.path in self.shared

    def is_shared(self, change: Change) -> bool:
        """Whether only the mode of a file changes that has a second name, which may be outside the root.

        A new mode would be that name's, too: such a file is replaced, as it is when its content changes.
        """
        if change.kind != "mode" or change.new is None or change.new.kind == DIRECTORY:
            return False
        present = self.root.lstat(change.path)
        return present is not None and stat.S_ISREG(present.st_mode) and present.st_nlink > 1

    def is_done(self, change: Change) -> bool:
        """In a guarded directory: whether the path already shows its new state."""
        guard = self.target.guard
        return guard is not None and change.new is not None and guard.entry(change.path) == change.new

    def is_other(self, change: Change, present: os.stat_result) -> bool:
        """In a guarded directory: whether the path shows neither its old nor its new state."""
        guard = self.target.guard
        if guard is None:
            return False
        found = guard.entry(change.path, present)
        return found not in (change.old, change.new)

    def owner_of(self, path: bytes) -> Owner | None:
        if not self.target.inherit:
            return self.target.owner
        while True:
            status = self.root.lstat(path)
            if status is not None:
                return Owner(status.st_uid, status.st_gid)
            path = parent_and_name(path)[0]

    def finish(self, unlocker: Unlocker) -> None:
        for path in sorted(self.touched, key=lambda p: (p.count(b"/") if p else -1, p), reverse=True):
            if not path:
                continue
            self.at = path
            try:
                fd = unlocker.open_dir(path)
            except OSError:
                continue  # removed by this very change, or by somebody meanwhile
            try:
                entry, time = self.look_up(path)
                mode = self.touched[path]
                if mode is None and entry is not None and (self.target.redo or path in unlocker.changed):
                    mode = entry.mode
                status = os.fstat(fd)  # what is right already may belong to another, or be closed to changes
                if mode is not None:
                    if stat.S_IMODE(status.st_mode) != mode:
                        os.fchmod(fd, mode)
                    unlocker.changed.pop(path, None)
                if time is not None and time.mtime_ns not in (UNKNOWN_TIME, status.st_mtime_ns):
                    os.utime(fd, ns=(time.mtime_ns, time.mtime_ns))
                self.settle(fd, path)
            finally:
                os.close(fd)
            failpoints.hit(self.target.point + ".directory")

    def settle(self, fd: int, path: bytes) -> None:
        if os.geteuid() != 0 and os.fstat(fd).st_mode & 0o500 != 0o500:
            os.fsync(fd)  # it cannot be opened again without changing its mode
        else:
            self.unsynced.append(path)

    def sync(self) -> None:
        """What `run` did is on the disk on return. All directories share one commit of the file system."""
        self.sync_all([*self.unsynced, b""])

    def sync_all(self, paths: list[bytes]) -> None:
        if len(paths) > _SYNC_ONE_BY_ONE:
            kernel.syncfs(self.root.fd)
            return
        for path in paths:
            sync_path(self.root.fd, path)

    def look_up(self, path: bytes) -> tuple[Entry | None, Times | None]:
        """Entry and times of a directory in the new tree."""
        here = self.new
        entry: Entry | None = None
        time: Times | None = None
        for part in path.split(b"/"):
            entry = self.store.directory_entries(here.tree).get(part)
            time = self.store.times(here.times).get(part)
            if entry is None or entry.kind != DIRECTORY:
                return None, None
            here = Snapshot(entry.value, time.child if time else b"")
        return entry, time


def staging_name(token: str) -> bytes:
    """The name, directly below a root, under which a change with this token collects its new files."""
    return b".interlock-" + token.encode("ascii")


def _without_set_id(change: Change) -> Change:
    """The change between the files as they are made and looked at: older trees may hold set-id bits."""
    old, new = change.old, change.new
    if not ((old is not None and old.mode & SET_ID) or (new is not None and new.mode & SET_ID)):
        return change
    return change._replace(old=_plain(old), new=_plain(new))


def _plain(entry: Entry | None) -> Entry | None:
    return file_entry(entry.mode, entry.value) if entry is not None and entry.kind == FILE else entry


def _needs_content(change: Change) -> bool:
    return change.new is not None and change.new.kind != DIRECTORY and change.kind != "mode"


def _needs_removal(change: Change) -> bool:
    if change.old is None:
        return False
    return change.new is None or (change.old.kind == DIRECTORY) != (change.new.kind == DIRECTORY)


def _lstat(fd: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
