"""What a tree is made of, and the limits on one. Pure: no I/O.

Inside this package an id is 32 raw bytes; outside it is text `sha256:<hex>` (`interlock.common.digests`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from interlock.common.errors import InterlockError, Reason

FILE: Final = "f"
DIRECTORY: Final = "d"
SYMLINK: Final = "l"

SET_ID: Final = 0o6000
"""Mode bits that let a file run with its owner's or its group's rights."""

UNKNOWN_TIME: Final = -(1 << 63)
"""Stands in a times object where no modification time is known; never written to a file."""

ChangeKind = Literal["added", "modified", "mode", "deleted"]


class Entry(NamedTuple):
    """One name in a directory object.

    Args:
        kind: `f` regular file, `d` directory, `l` symbolic link.
        mode: permission bits 0o0000..0o7777, of a file without its set-id bits; always 0 for a symlink.
        value: 32-byte id of the file's content or of the directory object; a symlink's target.
    """

    kind: str
    mode: int
    value: bytes


def file_entry(mode: int, content_id: bytes) -> Entry:
    """A regular file's entry.

    The set-user-id and set-group-id bits give the rights of the file's owner, and trees know no owners: they are
    left out, so that no file made from a tree has them.
    """
    return Entry(FILE, mode & 0o1777, content_id)


class Times(NamedTuple):
    """Modification time of one name in nanoseconds since 1970, and for a directory the id of its times object."""

    mtime_ns: int
    child: bytes = b""


class Snapshot(NamedTuple):
    """A tree id, and beside it the id of the modification times it was seen with (`b""` when none are known)."""

    tree: bytes
    times: bytes = b""


class Change(NamedTuple):
    """One path that differs between two trees.

    `kind` is `mode` where only permission bits differ, `modified` where content, target or type does.
    A directory counts by itself (type and mode), not by what is in it; a directory that came or went is
    followed by every path below it. `path` is bytes without leading slash; `old` or `new` is None where
    nothing is.
    """

    path: bytes
    kind: ChangeKind
    old: Entry | None
    new: Entry | None
    old_mtime_ns: int | None = None
    new_mtime_ns: int | None = None


class Totals(NamedTuple):
    """Size of a tree: names of every kind (the root not counted) and bytes of file content."""

    entries: int
    content_bytes: int


class Owner(NamedTuple):
    """Whom files are given to; only root can give files away."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Limits:
    """Bounds on one workspace or one effect; more is refused with WORKSPACE_LIMIT_EXCEEDED.

    Args:
        entries: files, directories and symlinks.
        content_bytes: file content of the whole tree.
        file_bytes: content of one file.
        depth: components of a path.
        changes: paths that one effect changes.
        effect_bytes: file content that one effect adds or changes.
    """

    entries: int = 500_000
    content_bytes: int = 20 << 30
    file_bytes: int = 4 << 30
    depth: int = 128
    changes: int = 200_000
    effect_bytes: int = 4 << 30


DEFAULT_LIMITS: Final = Limits()


_LIMITS: Final = {
    "entries": ("The workspace", "files, directories and links", "INTERLOCK_WORKSPACE_MAX_FILES", 1),
    "content_bytes": ("The workspace", "bytes of content", "INTERLOCK_WORKSPACE_MAX_MIB", 1 << 20),
    "file_bytes": ("One file of the workspace", "bytes", "INTERLOCK_WORKSPACE_MAX_FILE_MIB", 1 << 20),
    "depth": ("A path of the workspace", "levels of directories", "INTERLOCK_WORKSPACE_MAX_DEPTH", 1),
    "changes": ("The effect", "changed paths", "INTERLOCK_EFFECT_MAX_FILES", 1),
    "effect_bytes": ("The effect", "bytes of new content", "INTERLOCK_EFFECT_MAX_MIB", 1 << 20),
}


def limit_exceeded(limits: Limits, name: str, measured: int, path: str = "") -> InterlockError:
    """WORKSPACE_LIMIT_EXCEEDED: which limit (a field of Limits), what was measured (counting stops there), what to do.

    `path`, as shown to people, is where it was found.
    """
    allowed = getattr(limits, name)
    whose, what, variable, unit = _LIMITS[name]
    metadata = {"limit": name, "allowed": str(allowed), "measured": str(measured)}
    smaller = "Do it in smaller steps" if whose == "The effect" else "Use a smaller directory"
    return InterlockError(
        Reason.WORKSPACE_LIMIT_EXCEEDED,
        f"{whose} has {measured} {what} or more, and may have {allowed}" + (f": {path}." if path else "."),
        field="path" if path else "",
        fix=f"{smaller}, or raise {variable} (now {-(-allowed // unit)}) and restart the executor.",
        metadata={**metadata, "path": path} if path else metadata,
    )
