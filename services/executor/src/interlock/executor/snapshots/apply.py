"""Moving a directory from one tree to another: staged first, then changed by renames, safe to do again.

    stage     every new file is written, with owner, mode and time, into a private directory below the root;
              of a directory that nobody reads meanwhile, small files are later written where they are
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
from contextlib import ExitStack
from functools import partial
from typing import Final

from interlock.executor.files import failpoints, kernel
from interlock.executor.files.names import parent_and_name
from interlock.executor.files.near import ABSENT, Near
from interlock.executor.files.remove import remove_tree
from interlock.executor.files.root import chmod_fd
from interlock.executor.snapshots.changes import needs_removal, without_set_id
from interlock.executor.snapshots.contents import Contents, contents_of
from interlock.executor.snapshots.displaced import Displaced
from interlock.executor.snapshots.model import (
    DIRECTORY,
    FILE,
    UNKNOWN_TIME,
    Change,
    Entry,
    Owner,
    Snapshot,
)
from interlock.executor.snapshots.store import Store
from interlock.executor.snapshots.target import Applied, Target
from interlock.executor.snapshots.touched import Touched
from interlock.executor.snapshots.unlock import Unlocker
from interlock.executor.snapshots.write import fits, rewrite, sync_path, write_entry

STAGING: Final = b".interlock-"
"""What the names of staging directories begin with."""

_SYNC_ONE_BY_ONE: Final = 64  # beyond, one syncfs is cheaper than that many fsyncs
_HELD: Final = 16 << 20  # bytes kept in memory to be written in place
_ROOMY: Final = 16 * _HELD


class Application:
    """One move of one directory from `old` to `new`. Call `stage`, `flush`, `run`, `sync`.

    Where one of the first two failed, call `cancel` instead.
    """

    def __init__(
        self,
        store: Store,
        target: Target,
        changes: list[Change],
        new: Snapshot,
        token: str,
        contents: Contents | None = None,
    ) -> None:
        self.store, self.target, self.new = store, target, new
        self.changes = [without_set_id(change) for change in changes]
        self.contents = contents or contents_of(store, changes)
        self.root = target.root
        self.staging = staging_name(token)
        self.few = len(changes) <= _SYNC_ONE_BY_ONE
        self.kept: list[bytes] = []
        self.touched = Touched(store, target, new)
        self.staged: dict[int, str] = {}
        scratch = None if self.few else target.scratch
        self.displaced = Displaced(self.root, self.staging, self.changes, scratch)
        self.at = b""
        self.rewrites: dict[int, bytes] = {}
        self.roomy = False
        self.unsynced: list[bytes] = []
        self.shared: set[bytes] = set()

    def stage(self) -> None:
        """Write all new content. Changes nothing but the staging directory. Raises OSError (ENOSPC …)."""
        self.clear()
        self.staged, self.rewrites = {}, {}
        # A file that grows where it is may meet a full disk when there is no way back any more.
        free = os.fstatvfs(self.root.fd)
        self.roomy, held, fd = free.f_bavail * free.f_frsize >= _ROOMY, 0, -1
        with ExitStack() as opened:
            near = opened.enter_context(Near(self.root.open_path))
            for index, change in enumerate(self.changes):
                if change.new is None or change.new.kind == DIRECTORY:
                    continue
                self.at = change.path
                present = near.lstat(change.path)
                if not self.is_written(change, present) or self.is_done(change, present):
                    continue
                data = self.contents.small(change.new.value) if change.new.kind == FILE else None
                if data is not None and held + len(data) <= _HELD and self.is_rewritten(present, len(data)):
                    self.rewrites[index] = data
                    held += len(data)
                else:
                    if fd < 0:
                        fd = self.displaced.open()
                        opened.callback(os.close, fd)
                    self.stage_one(fd, index, change, change.new, data, present)
                failpoints.hit(self.target.point + ".staged")

    def stage_one(
        self,
        fd: int,
        index: int,
        change: Change,
        new: Entry,
        data: bytes | None,
        present: os.stat_result | None,
    ) -> None:
        owner = self.owner_of(change.path, present)
        time, name = change.new_mtime_ns, b"%d" % index
        write_entry(self.store, fd, name, new, time, owner, begin_sync=self.few, data=data)
        self.staged[index] = new.kind

    def check_contents(self) -> None:
        """Reads what `stage` would read now, and writes nothing. Raises TREE_NOT_FOUND, EFFECT_TAMPERED."""
        for change in self.changes:
            if change.new is None or change.new.kind != FILE:
                continue
            present = self.root.lstat(change.path)
            if self.is_written(change, present) and not self.is_done(change, present):
                for _ in self.store.chunks(change.new.value):
                    pass

    def is_rewritten(self, present: os.stat_result | None, size: int) -> bool:
        """Whether a file is written where it is, instead of being replaced: in a directory that nobody reads.

        That spares making and removing a file for each change. Cut off, it is done again before anybody reads.
        """
        if self.target.guard is not None or present is None or not stat.S_ISREG(present.st_mode):
            return False
        owner = self.target.owner
        return (
            present.st_nlink == 1
            and (present.st_mode & 0o200 != 0 or os.geteuid() == 0)
            and (owner is None or owner == (present.st_uid, present.st_gid))
            and (self.roomy or fits(present, size))
        )

    def flush(self) -> None:
        """What was staged is on the disk on return. Raises OSError.

        Writing back was begun when each file was written, so that all of them share a commit of the file system.
        """
        self.sync_all(
            [b"%s/%d" % (self.staging, index) for index, kind in self.staged.items() if kind == FILE]
        )

    def cancel(self) -> None:
        """Remove the staging directory, if there is one."""
        self.displaced.remove()

    def clear(self) -> None:
        """Remove what an attempt that was cut off has left; what it displaced of somebody else's is put back."""
        if self.target.redo and self.target.guard is not None:
            self.displaced.rescue()
        self.cancel()

    def run(self) -> Applied:
        """Change the directory; `sync` makes it durable. Raises OSError, after which doing it again is right."""
        self.touched.add_noted()
        with Unlocker(self.root, self.target.modes) as unlocker:
            with Near(partial(unlocker.open_dir, writable=True)) as near:
                for index in reversed(range(len(self.changes))):
                    if needs_removal(self.changes[index]):
                        self.at_parent(near, self.changes[index], self.remover(index))
                near.forget()  # directories may have gone, and come again
                for index, change in enumerate(self.changes):
                    if change.new is not None:
                        self.at_parent(near, change, self.placer(index, change.new))
            self.kept += self.displaced.changed_since()
            self.finish(unlocker)
        self.cancel()
        failpoints.hit(self.target.point + ".done")
        return Applied(len(self.changes) - len(self.kept), tuple(sorted(set(self.kept))))

    def at_parent(self, near: Near, change: Change, act: Callable[[int, bytes, Change], None]) -> None:
        parent, name = parent_and_name(change.path)
        self.at = change.path
        try:
            fd = near.directory(parent)
        except OSError as error:
            if error.errno not in (*ABSENT, errno.EXDEV):
                raise
            if change.new is not None:
                self.kept.append(change.path)
            return
        self.touched.add(parent)
        act(fd, name, change)
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
            elif index in self.rewrites:
                time = change.new_mtime_ns
                rewrite(fd, name, self.rewrites[index], new.mode, time, begin_sync=self.few)
                self.unsynced.append(change.path)
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
            owner = self.owner_of(change.path, None)
            os.mkdir(name, 0o700, dir_fd=fd)
            if owner is not None:
                os.chown(name, owner.uid, owner.gid, dir_fd=fd, follow_symlinks=False)
        self.touched.give(change.path, new.mode)

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
            if not self.is_done(change, self.root.lstat(change.path)):
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

    def is_written(self, change: Change, present: os.stat_result | None) -> bool:
        """Whether the change is made by putting a new file in place.

        A new mode of a file that has a second name, perhaps outside the root, would be that name's, too: such a
        file is replaced, as it is when its content changes.
        """
        if change.kind != "mode":
            return True
        if present is None or not stat.S_ISREG(present.st_mode) or present.st_nlink == 1:
            return False
        self.shared.add(change.path)
        return True

    def is_done(self, change: Change, present: os.stat_result | None) -> bool:
        """Whether the path already shows its new state, where that may be: see `Target`."""
        seen = self.target.guard or self.target.seen
        if seen is None or change.new is None or present is None:
            return False
        if seen.entry(change.path, present) != change.new:
            return False
        # Cut off between a file's content and its time, a directory that nobody looks at has the wrong time.
        return seen is self.target.guard or change.new_mtime_ns in (None, UNKNOWN_TIME, present.st_mtime_ns)

    def is_other(self, change: Change, present: os.stat_result) -> bool:
        """In a guarded directory: whether the path shows neither its old nor its new state."""
        guard = self.target.guard
        if guard is None:
            return False
        found = guard.entry(change.path, present)
        return found not in (change.old, change.new)

    def owner_of(self, path: bytes, present: os.stat_result | None) -> Owner | None:
        """Whom a new file is given to: whose it was, or who has the directory nearest to it."""
        if not self.target.inherit:
            return self.target.owner
        while present is None:
            path = parent_and_name(path)[0]
            present = self.root.lstat(path)
        return Owner(present.st_uid, present.st_gid)

    def finish(self, unlocker: Unlocker) -> None:
        for path in self.touched.deepest_first():
            self.at = path
            if self.touched.settle(path, unlocker):
                self.unsynced.append(path)
            failpoints.hit(self.target.point + ".directory")

    def sync(self) -> None:
        """What `run` did is on the disk on return. All directories share one commit of the file system."""
        self.sync_all([*self.unsynced, b""])

    def sync_all(self, paths: list[bytes]) -> None:
        if len(paths) > _SYNC_ONE_BY_ONE:
            kernel.syncfs(self.root.fd)
            return
        for path in paths:
            sync_path(self.root.fd, path)


def staging_name(token: str) -> bytes:
    """The name, directly below a root, under which a change with this token collects its new files."""
    return STAGING + token.encode("ascii")


def _lstat(fd: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
