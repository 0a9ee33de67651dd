"""What changed in one live directory since it was last read, by inotify: exact, or not trusted at all.

Every directory is watched before it is listed, through the descriptor it is listed by. So whatever changes later
than the listing is told of, and a directory that came since shows as a new name in one that is watched. Nothing is
added between two readings: a new directory is watched when it is read.

A directory may be replaced between its opening and its entering, and what tells of that may be taken before it is
entered (the queue is emptied at any time). Then the path has a watch on another directory than is there. So a path
counts as known only together with the identity of what was entered: a replacement that comes later ends the watch,
an earlier one shows as another identity, and either way its name is among the changes of the next reading.

What the kernel does not tell of, and what is done about it:

    more events than its queue holds, too many watches, the root moved or unmounted: not trusted, everything is read
    a write through another name of the same file: `StatCache.linked`, always looked at
    a write through a name that is gone, by whoever still has the file open: `Seen.ORPHAN`, everything is read
    a write through a mapping: told of when the last mapping ends
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Final

from interlock.executor.files.names import join, parent_and_name
from interlock.executor.snapshots.rescan import Changes, Seen
from interlock.executor.workspaces import inotify
from interlock.executor.workspaces.inotify import Event, Inotify

MOST_CHANGES: Final = 50_000
"""More names than this between two readings, and all is read: that is about as fast, and memory stays bounded."""

_CAME: Final = inotify.CREATE | inotify.MOVED_TO
_WENT: Final = inotify.DELETE | inotify.MOVED_FROM
_WRITTEN: Final = inotify.MODIFY | inotify.CLOSE_WRITE | inotify.ATTRIB
_MASK: Final = _CAME | _WENT | _WRITTEN | inotify.DELETE_SELF | inotify.MOVE_SELF
_LOST: Final = inotify.Q_OVERFLOW | inotify.UNMOUNT


class Watch:
    """Thread-safe. `reserve` is asked for room before a directory is watched; False ends the trust."""

    def __init__(self, reserve: Callable[[], bool]) -> None:
        self._lock = threading.RLock()
        self._reserve = reserve
        self._inotify: Inotify | None = Inotify()
        self._paths: dict[int, bytes] = {}
        self._watches: dict[bytes, tuple[int, tuple[int, int]]] = {}
        self._inside: dict[bytes, set[bytes]] = {}
        self._changes: Changes = {}
        self._count = 0

    @property
    def trusted(self) -> bool:
        """Whether it has told, and will tell, of every change since its directories were entered."""
        return self._inotify is not None

    @property
    def fd(self) -> int:
        """Readable when there are events; -1 when it is not trusted any more."""
        here = self._inotify
        return here.fd if here is not None else -1

    @property
    def size(self) -> int:
        """Directories watched."""
        return len(self._watches)

    def close(self) -> None:
        """Give up watching; may be called again, and at any time."""
        with self._lock:
            if self._inotify is not None:
                self._inotify.close()
            self._inotify = None
            self._paths, self._watches, self._inside = {}, {}, {}
            self._changes, self._count = {}, 0

    def enter(self, path: bytes, fd: int) -> None:
        """Watch the open directory `fd` as `path`, which is about to be listed."""
        if not self._reserve():  # without the lock: it may close another watch, which may be doing the same
            return self.close()
        with self._lock:
            if self._inotify is None:
                return None
            parent, name = parent_and_name(path)
            if path and parent not in self._watches:
                return None  # it went while it was read: its name is among the changes, and all below it is read anew
            try:
                self._forget(path)
                watch = self._inotify.add(fd, _MASK)
                status = os.fstat(fd)
            except OSError:
                return self.close()
            # The same directory was at another place when it was entered: it has been moved since.
            if (before := self._paths.get(watch)) is not None:
                self._unmap(before)
            self._paths[watch] = path
            self._watches[path] = (watch, (status.st_dev, status.st_ino))
            if path:
                self._inside.setdefault(parent, set()).add(name)
        return None

    def leave(self, path: bytes) -> None:
        """Stop watching what was entered as `path`, and all below it."""
        with self._lock:
            self._forget(path)

    def knows(self, path: bytes, status: os.stat_result) -> bool:
        """Whether the directory that shows `status` at `path` is the one that was entered there, and has stayed.

        An inode number is not given to another directory before the kernel has told that its first one is gone.
        """
        found = self._watches.get(path)
        return found is not None and found[1] == (status.st_dev, status.st_ino)

    def is_at(self, path: bytes, fd: int) -> bool:
        """Whether `fd` is the very directory that was entered as `path`."""
        return self.knows(path, os.fstat(fd))

    def collect(self) -> None:
        """Take what the kernel has queued. Called often enough, its queue does not overflow."""
        with self._lock:
            if self._inotify is None:
                return
            for event in self._inotify.events():
                self._take(event)
                if not self.trusted:
                    return

    def changes(self) -> Changes | None:
        """Everything that may have changed since the last call, which forgets it; None when not trusted."""
        with self._lock:
            self.collect()
            if self._inotify is None:
                return None
            taken, self._changes, self._count = self._changes, {}, 0
            return taken

    def _take(self, event: Event) -> None:
        if event.mask & _LOST:
            return self.close()
        path = self._paths.get(event.watch)
        if path is None:
            return None  # a directory that went, or was moved: what it is now has been, or will be, read anew
        if not event.name:
            return self._of_itself(path, event)
        self._note(path, event)
        if event.mask & (_CAME | _WENT):
            if event.mask & inotify.ISDIR:
                self._forget(join(path, event.name))
            if path:
                self._touch(*parent_and_name(path), Seen.TOUCHED)  # its modification time
        return None

    def _of_itself(self, path: bytes, event: Event) -> None:
        if not path:
            if event.mask & (inotify.DELETE_SELF | inotify.MOVE_SELF | inotify.IGNORED):
                self.close()
        elif event.mask & (inotify.DELETE_SELF | inotify.IGNORED):
            self._forget(path)
            self._touch(*parent_and_name(path), Seen.TOUCHED)

    def _note(self, path: bytes, event: Event) -> None:
        if event.mask & _CAME:
            self._touch(path, event.name, Seen.CAME)
        elif event.mask & _WENT:
            self._touch(path, event.name, Seen.WENT)
        elif event.mask & _WRITTEN:
            self._touch(path, event.name, Seen.TOUCHED)

    def _touch(self, path: bytes, name: bytes, seen: Seen) -> None:
        names = self._changes.setdefault(path, {})
        before = names.get(name)
        if before is None:
            self._count += 1
            if self._count > MOST_CHANGES:
                return self.close()
        elif before is Seen.ORPHAN or (seen is Seen.TOUCHED and before is Seen.CAME):
            return None
        elif seen is Seen.TOUCHED and before is Seen.WENT:
            seen = Seen.ORPHAN
        names[name] = seen
        return None

    def _forget(self, path: bytes) -> None:
        """End the watches of a directory and of all below it: another may be at its path."""
        waiting = [path]
        while waiting:
            here = waiting.pop()
            waiting.extend(join(here, name) for name in self._inside.pop(here, ()))
            found = self._watches.get(here)
            if found is not None:
                self._unmap(here)
                if self._inotify is not None:
                    self._inotify.remove(found[0])

    def _unmap(self, path: bytes) -> None:
        watch, _ = self._watches.pop(path)
        self._paths.pop(watch, None)
        if path:
            parent, name = parent_and_name(path)
            self._inside.get(parent, set()).discard(name)
