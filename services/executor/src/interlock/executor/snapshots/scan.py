"""Reading a whole directory into a tree; with a stat cache, only what changed is read again."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.names import MAX_PATH_BYTES, join, shown
from interlock.executor.files.root import Root
from interlock.executor.snapshots.builder import Built, Listing, build
from interlock.executor.snapshots.filehash import link_entry, read_file, unreadable
from interlock.executor.snapshots.model import (
    DIRECTORY,
    SET_ID,
    Entry,
    Limits,
    Snapshot,
    Times,
    Totals,
    file_entry,
    limit_exceeded,
)
from interlock.executor.snapshots.store import Batch
from interlock.executor.snapshots.unlock import Opener, Unlocker

_FINE_NS: Final = 20_000_000  # coarsest clock tick of a file system with fine time stamps
_COARSE_NS: Final = 2_000_000_000  # FAT and old network file systems

Signature = tuple[int, int, int, int, int]
"""inode, size, mtime_ns, ctime_ns, mode: a file with the same five has the same content."""


class Progress(NamedTuple):
    """How far a long operation is: `scan` or `checkout`, names done, bytes of content done."""

    phase: str
    entries: int
    content_bytes: int


ProgressFn = Callable[[Progress], None]


class Scanned(NamedTuple):
    """A directory as a tree.

    `skipped` are sockets, fifos and devices, which no tree holds; `hashed` counts files whose content was read.
    """

    snapshot: Snapshot
    totals: Totals
    skipped: tuple[bytes, ...]
    hashed: int


Known = dict[bytes, tuple[Signature, bytes]]
"""Files of one directory by name: how they looked when they were read, and the id of what was read."""


class StatCache:
    """What an earlier scan of the same directory saw. Not thread-safe; owned by one workspace.

    `linked` are files with more than one name, `skipped` what no tree holds, `totals` the size: each as of the last
    complete scan, kept up by `rescan`.
    """

    def __init__(self) -> None:
        self.files: dict[bytes, Known] = {}
        self.built: dict[bytes, Built] = {}
        self.set_id: set[bytes] = set()  # files that had such a bit when they were read
        self.linked: set[tuple[bytes, bytes]] = set()
        self.skipped: set[bytes] = set()
        self.totals = Totals(0, 0)

    def lookup(self, directory: bytes, name: bytes, status: os.stat_result) -> bytes | None:
        """The content id of an unchanged file; None when it must be read."""
        found = self.files.get(directory, {}).get(name)
        return found[1] if found is not None and found[0] == signature(status) else None


class Watcher(Protocol):
    """Is told of every directory, open as `fd`, just before it is listed."""

    def enter(self, path: bytes, fd: int) -> None: ...


class Copier(Protocol):
    """Is given what is read, one directory after the other; `data` is None for a big file."""

    def directory(self, path: bytes) -> None: ...

    def file(self, name: bytes, entry: Entry, data: bytes | None, mtime_ns: int) -> None: ...

    def link(self, name: bytes, entry: Entry, mtime_ns: int) -> None: ...


def signature(status: os.stat_result) -> Signature:
    """The five facts that change whenever content does (ctime cannot be set by a user)."""
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode)


def scan(
    root: Root,
    batch: Batch,
    cache: StatCache,
    limits: Limits,
    progress: ProgressFn | None = None,
    *,
    watcher: Watcher | None = None,
    copier: Copier | None = None,
    unlock: bool = False,
) -> Scanned:
    """Read everything below `root` into `batch` (committed here) and refresh `cache`.

    What vanishes during the scan is left out; what is modified during it is read again by the next scan.
    With an empty `cache`, `copier` is given all of it. `unlock` is for directories that are the executor's own:
    what cannot be read is opened up for a moment. Elsewhere no mode is ever changed.
    Raises WORKSPACE_LIMIT_EXCEEDED, PERMISSION_DENIED (naming what cannot be read), WORKSPACE_SOURCE_INVALID (a mount
    inside).
    """
    with Unlocker(root) if unlock else Opener(root) as opener:
        walk = Walk(root, batch, cache, limits, progress, opener, watcher, copier)
        return walk.run()


class Walk:
    """A walk over a directory or parts of it: fills `listings` and what a `StatCache` holds."""

    def __init__(
        self,
        root: Root,
        batch: Batch,
        cache: StatCache,
        limits: Limits,
        progress: ProgressFn | None,
        opener: Opener,
        watcher: Watcher | None,
        copier: Copier | None = None,
    ) -> None:
        self.root, self.batch, self.cache, self.limits = root, batch, cache, limits
        self.progress, self.opener, self.watcher, self.copier = progress, opener, watcher, copier
        self.listings: dict[bytes, Listing] = {}
        self.files: dict[bytes, Known] = {}
        self.linked: set[tuple[bytes, bytes]] = set()
        self.skipped: set[bytes] = set()
        self.entries = self.bytes = self.hashed = 0
        self.reported = 0

    def run(self) -> Scanned:
        self.descend(b"", 0)
        built = build(list(self.listings.values()), self.batch)
        self.batch.commit()
        cache, totals = self.cache, Totals(self.entries, self.bytes)
        cache.files, cache.built, cache.totals = self.files, built, totals
        cache.linked, cache.skipped = self.linked, self.skipped
        if self.progress:
            self.progress(Progress("scan", self.entries, self.bytes))
        return Scanned(built[b""].snapshot, totals, tuple(sorted(self.skipped)), self.hashed)

    def descend(self, path: bytes, depth: int) -> None:
        """Read a directory and all below it."""
        waiting = [(path, depth)]
        while waiting:
            here, level = waiting.pop()
            waiting.extend((join(here, name), level + 1) for name in self.directory(here, level))

    def directory(self, path: bytes, depth: int) -> list[bytes]:
        """Read one directory; returns the names of its subdirectories."""
        try:
            fd = self.opener.open_dir(path)
        except OSError as error:
            self.vanished(path, error)
            return []
        try:
            listing = Listing(path, known=self.cache.built.get(path))
            self.listings[path] = listing
            if self.watcher is not None:
                self.watcher.enter(path, fd)
                self.again(path, fd)
            if self.copier is not None:
                self.copier.directory(path)
            return self.names(fd, listing, depth)
        finally:
            os.close(fd)

    def again(self, path: bytes, fd: int) -> None:
        """A directory's time, now that changes of it are told: it was looked at before."""
        if path:
            parent, _, name = path.rpartition(b"/")
            self.listings[parent].times[name] = Times(os.fstat(fd).st_mtime_ns)

    def vanished(self, path: bytes, error: OSError) -> None:
        if not path:
            raise error
        if error.errno == errno.EXDEV:
            raise mount_inside(path)
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise error
        parent, _, name = path.rpartition(b"/")
        above = self.listings[parent]
        del above.entries[name], above.times[name]
        self.entries -= 1

    def names(self, fd: int, listing: Listing, depth: int) -> list[bytes]:
        path, entries, times, built = listing.path, listing.entries, listing.times, listing.known
        known = self.cache.files.get(path, {}) if built is not None else {}
        before, before_times = (built.entries, built.times) if built is not None else ({}, {})
        files: Known = {}
        directories: list[bytes] = []
        unchanged = size = 0
        with os.scandir(fd) as found:
            for item in found:
                name = os.fsencode(item.name)
                try:
                    status = item.stat(follow_symlinks=False)
                    old = known.get(name)
                    if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                        self.linked.add((path, name))
                    # This loop is the cost of looking for drift: an unchanged file takes its earlier values.
                    if old is not None and old[0] == (
                        status.st_ino,
                        status.st_size,
                        status.st_mtime_ns,
                        status.st_ctime_ns,
                        status.st_mode,
                    ):
                        files[name], entries[name], times[name] = old, before[name], before_times[name]
                        unchanged += 1
                        size += status.st_size
                        continue
                    status = self.item(fd, listing, name, status, files, directories)
                except OSError as error:
                    if error.errno in (errno.ENOENT, errno.ELOOP, errno.EINVAL, errno.ENXIO):
                        entries.pop(name, None)
                        continue  # vanished, or became something else, since the directory was read
                    if error.errno == errno.EACCES:
                        raise unreadable(path) from None  # it can be listed, not entered
                    raise
                if name in entries:
                    times[name] = Times(status.st_mtime_ns)
                    self.count(1)
        self.bytes += size
        self.count(unchanged)
        self.check(path, depth, max(map(len, entries), default=0))
        if files:
            self.files[path] = files
        return directories

    def item(
        self,
        fd: int,
        listing: Listing,
        name: bytes,
        status: os.stat_result,
        files: Known,
        directories: list[bytes],
    ) -> os.stat_result:
        """Enter one name that is new, changed, or no file. Raises OSError."""
        mode = status.st_mode
        if stat.S_ISREG(mode):
            if mode & SET_ID:
                self.cache.set_id.add(join(listing.path, name))
            content = self.cache.lookup(listing.path, name, status)
            if content is None:
                listing.entries[name], status = self.read(fd, listing.path, name, files)
            else:
                files[name] = (signature(status), content)
                listing.entries[name] = file_entry(mode, content)
                self.bytes += status.st_size
        elif stat.S_ISDIR(mode):
            listing.entries[name] = Entry(DIRECTORY, mode & 0o7777, b"")
            directories.append(name)
        elif stat.S_ISLNK(mode):
            listing.entries[name] = entry = link_entry(fd, name)
            if self.copier is not None:
                self.copier.link(name, entry, status.st_mtime_ns)
        else:
            self.skipped.add(join(listing.path, name))
        return status

    def read(self, fd: int, path: bytes, name: bytes, files: Known) -> tuple[Entry, os.stat_result]:
        here = join(path, name)
        started = time.time_ns()
        file = self.opener.open_file(fd, name, here)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(errno.EINVAL, "changed its type")
            entry, status, size, data = read_file(file, here, self.batch, self.limits)
        finally:
            os.close(file)
        tick = _FINE_NS if status.st_ctime_ns % 1_000_000_000 else _COARSE_NS
        # A write in the same clock tick as the last one leaves no trace: such a file is read again next time.
        if status.st_ctime_ns < started - tick and status.st_size == size:
            files[name] = (signature(status), entry.value)
        if status.st_dev != self.root.device:
            raise mount_inside(here)
        if self.copier is not None:
            self.copier.file(name, entry, data, status.st_mtime_ns)
        self.hashed += 1
        self.bytes += size
        return entry, status

    def count(self, names: int) -> None:
        self.entries += names
        if self.entries > self.limits.entries:
            raise limit_exceeded(self.limits, "entries", self.entries)
        if self.bytes > self.limits.content_bytes:
            raise limit_exceeded(self.limits, "content_bytes", self.bytes)
        if self.progress and self.entries - self.reported >= 1000:
            self.reported = self.entries
            self.progress(Progress("scan", self.entries, self.bytes))

    def check(self, path: bytes, depth: int, longest: int) -> None:
        if longest and depth + 1 > self.limits.depth:
            raise too_deep(path, self.limits)
        if len(path) + 1 + longest > MAX_PATH_BYTES:
            raise too_deep(path, self.limits)


def too_deep(path: bytes, limits: Limits) -> InterlockError:
    """WORKSPACE_LIMIT_EXCEEDED for something below the directory `path`."""
    if len(path) > MAX_PATH_BYTES - 255:
        return InterlockError(
            Reason.WORKSPACE_LIMIT_EXCEEDED,
            f"Paths are longer than {MAX_PATH_BYTES} bytes below {shown(path[:80])}.",
            fix="Flatten the directories, or give them shorter names.",
            metadata={"limit": "path_bytes", "allowed": str(MAX_PATH_BYTES), "measured": str(len(path))},
        )
    return limit_exceeded(limits, "depth", path.count(b"/") + 2, shown(path[:80]))


def mount_inside(path: bytes) -> InterlockError:
    """WORKSPACE_SOURCE_INVALID for a mount point below a workspace."""
    return InterlockError(
        Reason.WORKSPACE_SOURCE_INVALID,
        f"{shown(path)} is a mount point; a workspace must lie on one file system.",
        field="source",
        fix="Unmount it, or choose a directory without mounts.",
    )
