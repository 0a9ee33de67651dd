"""A directory's tree after changes whose names are known: only those names are looked at, and new directories read.

The answer is the one that `scan` would give. Wherever that is not certain there is no answer, and the caller scans.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from typing import Protocol

from interlock.executor.files.names import join, parent_and_name
from interlock.executor.files.root import Root
from interlock.executor.snapshots.builder import Listing, build
from interlock.executor.snapshots.filehash import unreadable
from interlock.executor.snapshots.model import DIRECTORY, FILE, Entry, Limits, Times, Totals, limit_exceeded
from interlock.executor.snapshots.scan import Known, Scanned, StatCache, Walk, Watcher, signature
from interlock.executor.snapshots.store import Batch
from interlock.executor.snapshots.unlock import Opener

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Seen(Enum):
    """What was last seen of a name."""

    TOUCHED = auto()
    CAME = auto()
    WENT = auto()
    ORPHAN = auto()
    """Written to after it went: the file may live on under another name."""


Changes = dict[bytes, dict[bytes, Seen]]
"""Names that may have changed, by directory."""


class KnowingWatcher(Watcher, Protocol):
    """Knows which directories were entered, and stay at their paths."""

    def knows(self, path: bytes, status: os.stat_result) -> bool: ...

    def is_at(self, path: bytes, fd: int) -> bool: ...

    def leave(self, path: bytes) -> None: ...


def rescan(
    root: Root,
    batch: Batch,
    cache: StatCache,
    limits: Limits,
    changes: Mapping[bytes, Mapping[bytes, Seen]],
    watcher: KnowingWatcher,
) -> Scanned | None:
    """The tree of `root`, of which `cache` has the last state, after `changes`; `cache` is brought up to date.

    None, and `cache` as it was, where only a complete scan can tell. Costs the names, the directories that hold
    them, and what is new. Raises like `scan`.
    """
    if b"" not in cache.built:
        return None
    with Opener(root) as opener:
        walk = _Rescan(root, batch, cache, limits, None, opener, watcher)
        return walk.after(changes, watcher)


class _Doubt(Exception):
    """Only a complete scan can tell."""


class _Rescan(Walk):
    def after(self, changes: Mapping[bytes, Mapping[bytes, Seen]], watcher: KnowingWatcher) -> Scanned | None:
        self.knows, self.is_at, self.leave = watcher.knows, watcher.is_at, watcher.leave
        self.removed: set[bytes] = set()
        self.examined: set[bytes] = set()
        self.gone_entries = self.gone_bytes = 0
        wanted = {path: dict(names) for path, names in changes.items()}
        for path, name in self.cache.linked:
            wanted.setdefault(path, {}).setdefault(name, Seen.CAME)
        try:
            for path in sorted(wanted, key=_depth):
                self.names_of(path, wanted[path])
        except _Doubt:
            return None
        if self.linked - self.cache.linked:
            return None
        if not self.listings:
            return Scanned(
                self.cache.built[b""].snapshot, self.cache.totals, tuple(sorted(self.cache.skipped)), 0
            )
        self.skipped |= {path for path in self.cache.skipped - self.examined if not self.is_removed(path)}
        self.add_parents()
        self.check_size()
        return self.finished()

    def names_of(self, path: bytes, names: Mapping[bytes, Seen]) -> None:
        """Look at names of one directory that is where it was."""
        built = self.cache.built.get(path)
        if built is None or path in self.listings or self.is_removed(path):
            return  # its parent's name is among the changes, too: read anew, or gone
        try:
            fd = self.opener.open_dir(path)
        except OSError as error:
            if error.errno in _GONE:
                raise _Doubt from None
            raise
        try:
            if not self.is_at(path, fd):
                raise _Doubt
            listing = Listing(path, dict(built.entries), dict(built.times), built)
            files = dict(self.cache.files.get(path, {}))
            self.listings[path], self.files[path] = listing, files
            fresh = [name for name, seen in names.items() if self.one(fd, listing, name, seen, files)]
        finally:
            os.close(fd)
        depth = _depth(path)[0]
        self.check(path, depth, max(map(len, names), default=0) if listing.entries else 0)
        for name in fresh:
            self.descend(join(path, name), depth + 1)

    def one(self, fd: int, listing: Listing, name: bytes, seen: Seen, files: Known) -> bool:
        """Look at one name. Returns whether it is a directory that has to be read."""
        here, old = join(listing.path, name), listing.entries.get(name)
        self.examined.add(here)
        if seen is Seen.ORPHAN:
            raise _Doubt
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            if seen is Seen.TOUCHED and old is None:
                raise _Doubt from None
            self.forget(listing, name, files)
            return False
        except PermissionError:
            raise unreadable(listing.path) from None  # it can be listed, not entered
        if old is not None and old.kind == DIRECTORY and self.is_known(here, status):
            self.check_readable(here)
            listing.entries[name] = Entry(DIRECTORY, stat.S_IMODE(status.st_mode), old.value)
            listing.times[name] = Times(status.st_mtime_ns, listing.times[name].child)
            return False
        if (
            status.st_nlink > 1
            and not stat.S_ISDIR(status.st_mode)
            and (listing.path, name) not in self.cache.linked
        ):
            raise _Doubt  # its other name may be in the tree, too, and nothing tells which
        known = files.get(name)
        if known is not None and old is not None and known[0] == signature(status):
            listing.times[name] = Times(status.st_mtime_ns)
            return False
        self.forget(listing, name, files)
        return self.enter(fd, listing, name, status, files)

    def is_known(self, path: bytes, status: os.stat_result) -> bool:
        return stat.S_ISDIR(status.st_mode) and self.knows(path, status)

    def check_readable(self, path: bytes) -> None:
        """A new mode may have closed a directory that needs no reading; no tree has one that cannot be read."""
        try:
            os.close(self.opener.open_dir(path))
        except OSError as error:
            if error.errno in _GONE:
                raise _Doubt from None
            raise

    def enter(self, fd: int, listing: Listing, name: bytes, status: os.stat_result, files: Known) -> bool:
        directories: list[bytes] = []
        try:
            status = self.item(fd, listing, name, status, files, directories)
        except OSError as error:
            if error.errno in (*_GONE, errno.EINVAL, errno.ENXIO):
                raise _Doubt from None
            raise
        if name in listing.entries:
            listing.times[name] = Times(status.st_mtime_ns)
            self.count(1)
        return bool(directories)

    def forget(self, listing: Listing, name: bytes, files: Known) -> None:
        """Take a name, and what was below it, out of the tree."""
        old, known = listing.entries.pop(name, None), files.pop(name, None)
        listing.times.pop(name, None)
        if old is None:
            return
        self.gone_entries += 1
        if old.kind == FILE:
            self.gone_bytes += known[0][1] if known else self.batch.store.size(old.value)
        elif old.kind == DIRECTORY:
            self.leave(join(listing.path, name))
            self.forget_below(join(listing.path, name))

    def forget_below(self, top: bytes) -> None:
        waiting = [top]
        while waiting:
            path = waiting.pop()
            built = self.cache.built.get(path)
            if built is None or path in self.removed:
                continue
            self.removed.add(path)
            files = self.cache.files.get(path, {})
            self.gone_entries += len(built.entries)
            for name, entry in built.entries.items():
                if entry.kind == DIRECTORY:
                    waiting.append(join(path, name))
                elif entry.kind == FILE:
                    known = files.get(name)
                    self.gone_bytes += known[0][1] if known else self.batch.store.size(entry.value)

    def is_removed(self, path: bytes) -> bool:
        """Whether a directory above `path`, or it, was taken out."""
        while path and self.removed:
            if path in self.removed:
                return True
            path = parent_and_name(path)[0]
        return False

    def add_parents(self) -> None:
        """`build` wants the listing of every parent, too."""
        for path in list(self.listings):
            # A parent that is there already has had, or will have, its own turn.
            for above in _parents(path):
                if above in self.listings:
                    break
                built = self.cache.built[above]
                self.listings[above] = Listing(above, dict(built.entries), dict(built.times), built)

    def totals(self) -> Totals:
        entries, content_bytes = self.cache.totals
        return Totals(
            entries - self.gone_entries + self.entries, content_bytes - self.gone_bytes + self.bytes
        )

    def check_size(self) -> None:
        entries, content_bytes = self.totals()
        if entries > self.limits.entries:
            raise limit_exceeded(self.limits, "entries", entries)
        if content_bytes > self.limits.content_bytes:
            raise limit_exceeded(self.limits, "content_bytes", content_bytes)

    def finished(self) -> Scanned:
        cache, totals = self.cache, self.totals()
        built = build(sorted(self.listings.values(), key=lambda listing: _depth(listing.path)), self.batch)
        self.batch.commit()
        for path in self.removed:
            cache.built.pop(path, None)
            cache.files.pop(path, None)
        cache.built.update(built)
        cache.files.update(self.files)
        cache.skipped, cache.totals = self.skipped, totals
        return Scanned(built[b""].snapshot, totals, tuple(sorted(self.skipped)), self.hashed)


def _parents(path: bytes) -> Iterator[bytes]:
    while path:
        path = parent_and_name(path)[0]
        yield path


def _depth(path: bytes) -> tuple[int, bytes]:
    return (path.count(b"/") + 1 if path else 0, path)
