"""The watches of all workspaces: bounded, the least recently used given up first, their queues kept short."""

from __future__ import annotations

import errno
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from interlock.executor.files.root import Root
from interlock.executor.snapshots.rescan import Changes
from interlock.executor.workspaces.watch import Watch
from interlock.executor.workspaces.watchable import Mounts, is_local

MOST_WORKSPACES: Final = 32
"""The kernel allows a user 128 inotify instances by default; other programs need some."""
DEFAULT_DIRECTORIES: Final = 65_536
"""About 1 KiB of the kernel's memory each."""
TRUST_SECONDS: Final = 60.0
"""How long a watch counts before everything is read again: a bound on what inotify cannot tell of."""
_PAUSE: Final = 0.1  # between two looks at the queues: at 160,000 changes a second they overflow
_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")
_FIXES: Final = {
    errno.EMFILE: "raise fs.inotify.max_user_instances; other programs of this user, or steps, have used them up",
    errno.ENFILE: "raise fs.file-max",
}

_log = logging.getLogger(__name__)


def default_directories() -> int:
    """DEFAULT_DIRECTORIES, or half of what the kernel allows this user where that is less; 0 where it has none."""
    try:
        return min(DEFAULT_DIRECTORIES, int(_LIMIT.read_text()) // 2)
    except (OSError, ValueError):
        return 0


class Watches:
    """Thread-safe; a workspace's own methods are called under its lock.

    Args:
        directories: watched at most, over all workspaces; 0 watches nothing.
        trust: seconds after which a watch is given up and everything is read.
    """

    def __init__(
        self,
        directories: int | None = None,
        trust: float = TRUST_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directories = default_directories() if directories is None else directories
        self._trust, self._monotonic = trust, monotonic
        self._lock = threading.Lock()
        self._all: dict[str, tuple[Watch, float]] = {}  # in order of use
        self._told = 0
        self._mounts: Mounts | None = None
        self._thread: threading.Thread | None = None
        self._end = threading.Event()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def close(self) -> None:
        """Give up all watches."""
        if self._end.is_set():
            return
        self._end.set()
        for name in list(self._all):
            self.drop(name)
        os.eventfd_write(self._wake, 1)
        if self._thread is not None:
            self._thread.join()
        os.close(self._wake)
        if self._mounts is not None:
            self._mounts.close()

    @contextmanager
    def beginning(self, workspace: str, live: Root) -> Iterator[Watch | None]:
        """A new watch, which every directory is to enter before it is listed; at the end, it tells of changes.

        None where changes cannot be watched: not a local file system, no inotify, none wanted.
        """
        self.drop(workspace)
        watch = self._new(live)
        try:
            yield watch
        except BaseException:
            if watch is not None:
                watch.close()
            raise
        if watch is not None:
            self._keep(workspace, watch)

    def _new(self, live: Root) -> Watch | None:
        if not self.directories or not is_local(live.fd):
            return None
        try:
            watch: Watch = Watch(lambda: self._reserve(watch))
        except OSError as error:
            self._tell(error)
            return None
        self._told = 0
        return watch

    def _tell(self, error: OSError) -> None:
        """Once, until it works again: nothing is wrong but the time that it takes."""
        if error.errno == self._told:
            return
        self._told = error.errno or errno.EIO
        fix = _FIXES.get(self._told, "see inotify(7)")
        _log.warning(
            "live directories cannot be watched and are read whole before every step: %s (%s)", error, fix
        )

    def _keep(self, workspace: str, watch: Watch) -> None:
        if not watch.trusted or self._end.is_set():
            return watch.close()
        with self._lock:
            self._all[workspace] = (watch, self._monotonic())
            oldest = next(iter(self._all)) if len(self._all) > MOST_WORKSPACES else ""
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="interlock-watch", daemon=True)
                self._thread.start()
        os.eventfd_write(self._wake, 1)
        if oldest:
            self.drop(oldest)
        return None

    def drop(self, workspace: str) -> None:
        """Give up a workspace's watch: all of it is read at its next use."""
        with self._lock:
            found = self._all.pop(workspace, None)
        if found is not None:
            found[0].close()

    def look(self, workspace: str, path: Path, live: Root) -> tuple[Watch, Changes] | None:
        """What may have changed below `live`, which is open at `path`; None where all of it must be read."""
        with self._lock:
            found = self._all.pop(workspace, None)
            if found is None:
                return None
            self._all[workspace] = found
        watch, since = found
        if self._monotonic() - since <= self._trust and not self._covered(path):
            changes = watch.changes()
            if changes is not None and watch.is_at(b"", live.fd):
                return watch, changes
        self.drop(workspace)
        return None

    def watched(self) -> dict[str, int]:
        """Directories watched, by workspace."""
        with self._lock:
            return {name: watch.size for name, (watch, _) in self._all.items() if watch.trusted}

    def _covered(self, path: Path) -> bool:
        with self._lock:
            try:
                if self._mounts is None:
                    self._mounts = Mounts()
                return self._mounts.below(path)
            except OSError:
                return True

    def _reserve(self, asking: Watch) -> bool:
        while True:
            with self._lock:
                others = [(name, watch) for name, (watch, _) in self._all.items() if watch is not asking]
                used = asking.size + sum(watch.size for _, watch in others)
            if used < self.directories:
                return True
            if not others:
                return False
            self.drop(others[0][0])

    def _run(self) -> None:
        """Empty the queues as they fill, so that a long build between two steps does not overflow them."""
        while not self._end.wait(_PAUSE):
            with self._lock:
                watches = [watch for watch, _ in self._all.values()]
            by_fd = {watch.fd: watch for watch in watches if watch.trusted}
            poll = select.poll()
            poll.register(self._wake, select.POLLIN)
            for fd in by_fd.keys() - {-1}:
                poll.register(fd, select.POLLIN)
            for fd, _ in poll.poll():
                if fd in by_fd:
                    by_fd[fd].collect()
                elif fd == self._wake:
                    os.eventfd_read(self._wake)
