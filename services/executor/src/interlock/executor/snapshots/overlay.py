"""Capture: what a step changed, from the upper directory of its overlay. Costs O(upper), not O(tree).

The format is the kernel's (Documentation/filesystems/overlayfs.rst): a whiteout is a character device 0:0, or in
a directory marked opaque `x` an empty file with the attribute `overlay.whiteout`; a directory marked opaque `y`
replaces the one below it. Attributes are in the `user.` namespace for mounts by ordinary users, `trusted.` else.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.names import MAX_PATH_BYTES, join, shown
from interlock.executor.files.root import Root
from interlock.executor.snapshots.batch import Screen
from interlock.executor.snapshots.builder import Listing, build
from interlock.executor.snapshots.filehash import link_entry, open_unlocked, read_file
from interlock.executor.snapshots.model import (
    DIRECTORY,
    SET_ID,
    UNKNOWN_TIME,
    Entry,
    Limits,
    Snapshot,
    Times,
    limit_exceeded,
)
from interlock.executor.snapshots.scan import too_deep
from interlock.executor.snapshots.store import Batch, Store
from interlock.executor.snapshots.unlock import Unlocker

SET_ID_FILE: Final = "file with a set-user-id or set-group-id bit"
_SPACES: Final = ("user.overlay.", "trusted.overlay.")
# An upper with these cannot be read without knowing other layers; the mounts this service makes never write them.
_FOREIGN: Final = ("redirect", "metacopy", "protattr")


def capture_overlay(
    upper: Root, base: Snapshot, store: Store, limits: Limits, screen: Screen | None = None
) -> Snapshot:
    """The tree that the merged view of `upper` over `base` shows. The upper must be at rest.

    A file copied up but equal in content and mode is no change, its time included. Extended attributes, owners
    and hard links are not part of a tree. New objects are durable in the store on return.

    Raises:
        EFFECT_NOT_PUBLISHABLE: sockets, fifos, devices, set-id files, or foreign overlay attributes, by name; what
            `screen` refuses.
        WORKSPACE_LIMIT_EXCEEDED: more entries, bytes or depth in the upper than `limits` allow.
    """
    batch = store.batch(screen)
    with Unlocker(upper) as unlocker:
        walk = _Walk(unlocker, store, batch, limits)
        listings = walk.run(base)
    if walk.refused:
        raise not_publishable(walk.refused)
    built = build(listings, batch)
    batch.commit()
    return built[b""].snapshot


@dataclass
class _Below:
    """What the lower layer has at a directory."""

    entries: dict[bytes, Entry] = field(default_factory=dict)
    times: dict[bytes, Times] = field(default_factory=dict)


class _Walk:
    def __init__(self, unlocker: Unlocker, store: Store, batch: Batch, limits: Limits) -> None:
        self.unlocker, self.store, self.batch, self.limits = unlocker, store, batch, limits
        self.refused: list[tuple[bytes, str]] = []
        self.entries = self.bytes = 0

    def run(self, base: Snapshot) -> list[Listing]:
        listings: list[Listing] = []
        waiting = [(b"", 0, base)]
        while waiting:
            path, depth, below = waiting.pop()
            if len(path) > MAX_PATH_BYTES:
                raise too_deep(path, self.limits)
            fd = self.unlocker.open_dir(path)
            try:
                listing, inner = self.directory(fd, path, below)
            finally:
                os.close(fd)
            if depth >= self.limits.depth and listing.entries:
                raise too_deep(path, self.limits)
            listings.append(listing)
            waiting.extend((join(path, name), depth + 1, sub) for name, sub in inner)
        return listings

    def below(self, snapshot: Snapshot) -> _Below:
        if not snapshot.tree:
            return _Below()
        return _Below(
            dict(self.store.directory_entries(snapshot.tree)), dict(self.store.times(snapshot.times))
        )

    def directory(
        self, fd: int, path: bytes, snapshot: Snapshot
    ) -> tuple[Listing, list[tuple[bytes, Snapshot]]]:
        attributes = self.attributes(fd, path)
        opaque = attributes.get("opaque", b"")
        below = _Below() if opaque == b"y" else self.below(snapshot)
        listing = Listing(path, dict(below.entries), dict(below.times))
        inner: list[tuple[bytes, Snapshot]] = []
        with os.scandir(fd) as found:
            for item in found:
                name = os.fsencode(item.name)
                status = item.stat(follow_symlinks=False)
                self.count(status)
                if stat.S_ISDIR(status.st_mode):
                    inner.append((name, self.subdirectory(listing, name, status, below)))
                elif stat.S_ISREG(status.st_mode):
                    self.file(fd, listing, name, opaque == b"x")
                elif stat.S_ISLNK(status.st_mode):
                    self.put(listing, name, link_entry(fd, name), status)
                elif stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                    _delete(listing, name)
                else:
                    self.refused.append((join(path, name), _special(status.st_mode)))
        return listing, inner

    def subdirectory(self, listing: Listing, name: bytes, status: os.stat_result, below: _Below) -> Snapshot:
        """Note a directory (its id comes later); returns what it stands on, an empty id where nothing is."""
        old = below.entries.get(name)
        listing.entries[name] = Entry(DIRECTORY, stat.S_IMODE(status.st_mode), b"")
        listing.times[name] = Times(status.st_mtime_ns)
        if old is None or old.kind != DIRECTORY:
            return Snapshot(b"")
        return Snapshot(old.value, below.times.get(name, Times(UNKNOWN_TIME)).child)

    def file(self, dir_fd: int, listing: Listing, name: bytes, may_be_whiteout: bool) -> None:
        path = join(listing.path, name)
        fd = open_unlocked(dir_fd, name, path)
        try:
            attributes = self.attributes(fd, path)
            if may_be_whiteout and "whiteout" in attributes:
                _delete(listing, name)
                return
            entry, status, _, _ = read_file(fd, path, self.batch, self.limits)
            if status.st_mode & SET_ID:
                self.refused.append((path, SET_ID_FILE))
        finally:
            os.close(fd)
        self.put(listing, name, entry, status)

    def put(self, listing: Listing, name: bytes, entry: Entry, status: os.stat_result) -> None:
        if listing.entries.get(name) == entry:
            return
        listing.entries[name] = entry
        listing.times[name] = Times(status.st_mtime_ns)

    def attributes(self, fd: int, path: bytes) -> dict[str, bytes]:
        """The overlay attributes of an open file or directory, without their prefix."""
        found: dict[str, bytes] = {}
        for full in os.listxattr(fd):
            for space in _SPACES:
                if full.startswith(space):
                    found[full.removeprefix(space)] = os.getxattr(fd, full)
        for name in _FOREIGN:
            if name in found:
                self.refused.append((path, f"entry with the overlay attribute {name}"))
        return found

    def count(self, status: os.stat_result) -> None:
        self.entries += 1
        if stat.S_ISREG(status.st_mode):
            self.bytes += status.st_size
        # Only so that this ends: what counts is the difference, which is not known yet.
        if self.entries > self.limits.changes + self.limits.entries:
            raise limit_exceeded(self.limits, "changes", self.entries)
        if self.bytes > self.limits.effect_bytes + self.limits.content_bytes:
            raise limit_exceeded(self.limits, "effect_bytes", self.bytes)


def not_publishable(refused: list[tuple[bytes, str]]) -> InterlockError:
    """EFFECT_NOT_PUBLISHABLE naming (up to ten of) the paths and what is wrong with each."""
    named = "; ".join(f"{shown(path)} ({what})" for path, what in sorted(refused)[:10])
    more = f" and {len(refused) - 10} more" if len(refused) > 10 else ""
    return InterlockError(
        Reason.EFFECT_NOT_PUBLISHABLE,
        f"The step left what a workspace cannot hold: {named}{more}.",
        fix="Let the command remove sockets, fifos and set-id bits before it ends, or put them under /tmp.",
        metadata={"paths": "\n".join(shown(path) for path, _ in sorted(refused)[:10])},
    )


def special_kind(mode: int) -> str:
    """What a directory entry is that no tree holds."""
    return _special(mode)


def _special(mode: int) -> str:
    if stat.S_ISSOCK(mode):
        return "socket"
    if stat.S_ISFIFO(mode):
        return "fifo"
    return "device"


def _delete(listing: Listing, name: bytes) -> None:
    listing.entries.pop(name, None)
    listing.times.pop(name, None)
