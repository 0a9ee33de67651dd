"""Trees as commits: a stream for `git fast-import` (https://git-scm.com/docs/git-fast-import), in bounded memory.

Each commit names only the paths that differ from the tree before it, with their content inline: git recognises what
it has, and nothing has to be remembered here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from interlock.executor.exports.gitnames import refused
from interlock.executor.files.names import parent_and_name
from interlock.executor.snapshots.compare import find, iterate, walk
from interlock.executor.snapshots.model import DIRECTORY, FILE, SYMLINK, Change, Entry, Snapshot
from interlock.executor.snapshots.store import Store

BRANCH: Final = b"refs/heads/main"
WHO: Final = b"Interlock <interlock@interlock.invalid>"
KEPT_OMISSIONS: Final = 1000

OmissionKind = Literal["empty_directory", "mode", "name"]
_FILE_MODES: Final = (0o644, 0o755)
_DIRECTORY_MODE: Final = 0o755


class Commit(NamedTuple):
    """A tree with its message and its time in seconds since 1970."""

    tree: bytes
    message: bytes
    seconds: int


class Omission(NamedTuple):
    """A path that is not carried as it is: the first commit (from 0) it is about, why, and its mode."""

    commit: int
    path: bytes
    kind: OmissionKind
    mode: int


@dataclass
class Omissions:
    """The first of them, and how many there are."""

    kept: list[Omission] = field(default_factory=list)
    total: int = 0

    def add(self, commit: int, path: bytes, kind: OmissionKind, mode: int) -> None:
        """Count one, and keep it while there is room."""
        self.total += 1
        if len(self.kept) < KEPT_OMISSIONS:
            self.kept.append(Omission(commit, path, kind, mode))


def fast_import(store: Store, commits: Sequence[Commit], omissions: Omissions) -> Iterator[bytes]:
    """The stream in pieces of at most about a MiB; `omissions` is complete at its end. Raises TREE_NOT_FOUND."""
    yield b"feature done\n"
    before: bytes | None = None
    for number, commit in enumerate(commits):
        yield _commit(commit)
        yield from _Changes(store, commit.tree, number, omissions).stream(before)
        before = commit.tree
        yield b"\n"
    yield b"done\n"


def _commit(commit: Commit) -> bytes:
    when = b"%s %d +0000\n" % (WHO, commit.seconds)
    head = b"commit %s\nauthor %scommitter %s" % (BRANCH, when, when)
    return head + b"data %d\n%s\n" % (len(commit.message), commit.message)


class _Changes:
    """What one commit changes."""

    def __init__(self, store: Store, tree: bytes, number: int, omissions: Omissions) -> None:
        self.store, self.tree, self.number, self.omissions = store, tree, number, omissions
        self.gone = self.left_out = b""
        self.emptied: set[bytes] = set()

    def stream(self, before: bytes | None) -> Iterator[bytes]:
        """Everything by which the tree differs from the one before; None is a tree without anything."""
        changes: Iterator[Change]
        if before is None:
            added = walk(self.store, self.tree)
            changes = (Change(path, "added", None, entry) for path, entry in added)
        else:
            changes = iterate(self.store, Snapshot(before), Snapshot(self.tree))
        for change in changes:
            yield from self.change(change)
        for path in sorted(self.emptied):
            self.look_for_empty(path)

    def change(self, change: Change) -> Iterator[bytes]:
        path, old, new = change.path, change.old, change.new
        if self.left_out and path.startswith(self.left_out):
            return
        parent, name = parent_and_name(path)
        if any(refused(part) for part in parent.split(b"/")):
            return  # below what an earlier commit left out, and named there: only what differs is walked
        if old is not None and _refused(name, old):
            old = None
        if new is not None and _refused(name, new):
            self.left_out = path + b"/"
            self.omissions.add(self.number, path, "name", new.mode)
            new = None
        elif refused(name):
            self.left_out = path + b"/"
        if old is not None and (new is None or old.kind != new.kind):
            yield from self.remove(path, old, parent)
        if new is None:
            return
        if new.kind == DIRECTORY:
            self.directory(path, old, new)
        else:
            yield from self.entry(path, old, new)

    def remove(self, path: bytes, old: Entry, parent: bytes) -> Iterator[bytes]:
        if self.gone and path.startswith(self.gone):
            return
        if old.kind == DIRECTORY:
            self.gone = path + b"/"
        if parent:
            self.emptied.add(parent)
        yield _delete(path)

    def directory(self, path: bytes, old: Entry | None, new: Entry) -> None:
        if new.mode != _DIRECTORY_MODE and (old is None or old.mode != new.mode):
            self.omissions.add(self.number, path, "mode", new.mode)
        if old is None or old.kind != DIRECTORY:
            self.emptied.add(path)

    def entry(self, path: bytes, old: Entry | None, new: Entry) -> Iterator[bytes]:
        if new.kind == FILE and new.mode not in _FILE_MODES and (old is None or old.mode != new.mode):
            self.omissions.add(self.number, path, "mode", new.mode)
        if old is not None and old.kind == new.kind and (_mode(old), old.value) == (_mode(new), new.value):
            return  # a difference of mode that git does not know
        size = len(new.value) if new.kind == SYMLINK else self.store.size(new.value)
        yield b"M %s inline %s\ndata %d\n" % (_mode(new), _quoted(path), size)
        if new.kind == SYMLINK:
            yield new.value
        else:
            yield from self.store.chunks(new.value)
        yield b"\n"

    def look_for_empty(self, path: bytes) -> None:
        """Note a directory in which git sees nothing, if it is one in this tree."""
        entry = find(self.store, self.tree, path) if path else None
        if entry is None or entry.kind != DIRECTORY:
            return
        if not self.store.directory_entries(entry.value):
            self.omissions.add(self.number, path, "empty_directory", entry.mode)


def _refused(name: bytes, entry: Entry) -> bool:
    """Whether git takes no such entry. A symbolic link may not be called .gitmodules: CVE-2018-11235."""
    return refused(name) or (entry.kind == SYMLINK and name.lower() == b".gitmodules")


def _mode(entry: Entry) -> bytes:
    if entry.kind == SYMLINK:
        return b"120000"
    return b"100755" if entry.mode & 0o100 else b"100644"


def _delete(path: bytes) -> bytes:
    return b"D %s\n" % _quoted(path)


def _quoted(path: bytes) -> bytes:
    """A path as git reads it back: in quotes, everything but plain characters in octal."""
    plain = b"".join(
        bytes((byte,)) if 0x20 <= byte < 0x7F and byte not in b'"\\' else b"\\%03o" % byte for byte in path
    )
    return b'"%s"' % plain
