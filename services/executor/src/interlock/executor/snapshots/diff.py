"""The difference of two trees for people: unified diff with git's extended headers.

Beyond git: empty directories, and modes other than 644 and 755, are shown (as `interlock:` lines, and full modes in
the mode headers; `git apply` accepts both). Everything is bounded, and what was left out is said, in the text and
in the flags.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.names import to_text
from interlock.executor.snapshots.compare import iterate
from interlock.executor.snapshots.links import leads_out
from interlock.executor.snapshots.model import DIRECTORY, FILE, SYMLINK, Change, ChangeKind, Entry, Snapshot
from interlock.executor.snapshots.renames import Paired, pair_renames
from interlock.executor.snapshots.store import Store
from interlock.executor.snapshots.unified import hunks, quote

_SNIFF = 8000  # git looks for a NUL byte in as many


@dataclass(frozen=True)
class DiffLimits:
    """Bounds on a diff: paths shown, bytes of text of one file and in all, bytes of a file that is compared
    by line at all, seconds (checked between files), lines of context."""

    files: int = 3000
    file_bytes: int = 256 << 10
    total_bytes: int = 4 << 20
    compare_bytes: int = 4 << 20
    seconds: float = 10.0
    context: int = 3
    changes: int = 200_000


@dataclass(frozen=True)
class FileDiff:
    """One changed path.

    `kind` is `added`, `modified`, `mode`, `deleted` or `renamed` (then `old_path` differs from `path`).
    Types are those of entries (FILE, DIRECTORY, SYMLINK), empty where the path is not on that side; modes are
    permission bits, None there. `added` and `removed` count lines (0 when `binary` or not compared). `target` is where
    a symbolic link leads now, `leads_out` whether that is out of the tree. `patch` is the text with its headers;
    `truncated` tells that text was left out.
    """

    path: str
    old_path: str
    kind: ChangeKind | str
    old_mode: int | None
    new_mode: int | None
    old_size: int
    new_size: int
    binary: bool
    added: int
    removed: int
    truncated: bool
    patch: bytes
    old_type: str = ""
    new_type: str = ""
    target: str = ""
    leads_out: bool = False


@dataclass(frozen=True)
class Diff:
    """All changed paths in tree order, as far as the limits allowed.

    `total` counts changed paths (a rename as one); `truncated` tells that paths or text were left out. Counts
    of lines cover the files that were compared.
    """

    files: tuple[FileDiff, ...]
    total: int
    added: int
    removed: int
    truncated: bool

    @property
    def patch(self) -> bytes:
        """The whole text. It ends with a line that says so when something was left out."""
        text = b"".join(file.patch for file in self.files)
        left = self.total - len(self.files)
        return text + (b"interlock: %d more changed paths are not shown\n" % left if left else b"")


def diff_trees(store: Store, old: Snapshot, new: Snapshot, limits: DiffLimits) -> Diff:
    """The difference between two trees. Raises TREE_NOT_FOUND; WORKSPACE_LIMIT_EXCEEDED beyond `limits.changes`."""
    changes: list[Change] = []
    for change in iterate(store, old, new):
        if len(changes) == limits.changes:
            raise InterlockError(
                Reason.WORKSPACE_LIMIT_EXCEEDED, f"More than {limits.changes} paths differ; too many to show."
            )
        changes.append(change)
    return diff_changes(store, changes, limits, new.tree)


def diff_changes(store: Store, changes: list[Change], limits: DiffLimits, tree: bytes = b"") -> Diff:
    """The text of some of the changes between two trees, given in tree order. Raises TREE_NOT_FOUND.

    `tree` is the one they lead to; with it, links that lead out are told.
    """
    return _render(store, pair_renames(changes), limits, tree)


def _render(store: Store, paired: list[Paired], limits: DiffLimits, tree: bytes) -> Diff:
    deadline = time.monotonic() + limits.seconds
    files: list[FileDiff] = []
    left = limits.total_bytes
    for pair in paired[: limits.files]:
        text_bytes = min(limits.file_bytes, left) if time.monotonic() < deadline else 0
        file = _linked(store, pair, tree, _file(store, pair, replace(limits, file_bytes=text_bytes)))
        left = max(left - len(file.patch), 0)
        files.append(file)
    truncated = len(files) < len(paired) or any(file.truncated for file in files)
    added, removed = sum(f.added for f in files), sum(f.removed for f in files)
    return Diff(tuple(files), len(paired), added, removed, truncated)


def _linked(store: Store, pair: Paired, tree: bytes, file: FileDiff) -> FileDiff:
    """The same, with where it leads, if it is a link now."""
    if pair.new is None or pair.new.kind != SYMLINK:
        return file
    target = pair.new.value
    out = bool(tree) and leads_out(store, tree, pair.path, target)
    return replace(file, target=to_text(target), leads_out=out)


def _file(store: Store, pair: Paired, limits: DiffLimits) -> FileDiff:
    a, b = quote(b"a/" + pair.old_path), quote(b"b/" + pair.path)
    old, new = pair.old, pair.new
    empty = FileDiff(
        path=to_text(pair.path),
        old_path=to_text(pair.old_path),
        kind=pair.kind,
        old_mode=old.mode if old else None,
        new_mode=new.mode if new else None,
        old_size=_size(store, old),
        new_size=_size(store, new),
        binary=False,
        added=0,
        removed=0,
        truncated=False,
        patch=b"",
        old_type=old.kind if old else "",
        new_type=new.kind if new else "",
    )
    if _is_dir(old) or _is_dir(new):
        return _directory(store, pair, empty, limits)
    head = b"diff --git %b %b\n" % (a, b) + _headers(pair)
    if old is not None and new is not None and old.kind != new.kind:
        return _typechange(store, pair, empty, limits)
    if old is not None and new is not None and old.value == new.value:
        return replace(empty, patch=head)
    return _body(store, old, new, replace(empty, patch=head), a, b, limits)


def _body(
    store: Store, old: Entry | None, new: Entry | None, file: FileDiff, a: bytes, b: bytes, limits: DiffLimits
) -> FileDiff:
    if not file.old_size and not file.new_size:
        return file
    shown_a, shown_b = (a if old else b"/dev/null"), (b if new else b"/dev/null")
    if max(file.old_size, file.new_size) > limits.compare_bytes:
        mark = b"interlock: too large to compare (%d -> %d bytes)\n" % (file.old_size, file.new_size)
        return replace(file, truncated=True, patch=file.patch + mark)
    before, after = _content(store, old), _content(store, new)
    if b"\0" in before[:_SNIFF] or b"\0" in after[:_SNIFF]:
        text = b"Binary files %b and %b differ\n" % (shown_a, shown_b)
        return replace(file, binary=True, patch=file.patch + text)
    if limits.file_bytes <= 0:
        return replace(file, truncated=True, patch=file.patch + b"interlock: text left out\n")
    # git ends a name that has a space with a tab, so that patch(1) finds its end
    shown_a, shown_b = (name + b"\t" if b" " in name else name for name in (shown_a, shown_b))
    found = hunks(before, after, context=limits.context, max_bytes=limits.file_bytes)
    text = b"--- %b\n+++ %b\n%b" % (shown_a, shown_b, found.text)
    if found.truncated:
        text += b"interlock: the rest of this file's difference is left out\n"
    return replace(
        file, added=found.added, removed=found.removed, truncated=found.truncated, patch=file.patch + text
    )


def _typechange(store: Store, pair: Paired, file: FileDiff, limits: DiffLimits) -> FileDiff:
    """As git: the old thing deleted, then the new one added."""
    gone = _file(store, Paired(pair.old_path, pair.path, "deleted", pair.old, None), limits)
    come = _file(store, Paired(pair.old_path, pair.path, "added", None, pair.new), limits)
    return replace(
        file,
        binary=gone.binary or come.binary,
        added=come.added,
        removed=gone.removed,
        truncated=gone.truncated or come.truncated,
        patch=gone.patch + come.patch,
    )


def _directory(store: Store, pair: Paired, file: FileDiff, limits: DiffLimits) -> FileDiff:
    name = quote(pair.path)
    old, new = pair.old, pair.new
    if old is not None and new is not None and old.kind == new.kind:
        text = b"interlock: directory %b mode %04o -> %04o\n" % (name, old.mode, new.mode)
        return replace(file, patch=text)
    parts = []
    truncated = False
    for entry, kind, words in ((old, "deleted", b"deleted"), (new, "added", b"added")):
        if entry is None:
            continue
        if entry.kind == DIRECTORY:
            parts.append(b"interlock: directory %b %b, mode %04o\n" % (name, words, entry.mode))
        else:
            sides = (entry, None) if kind == "deleted" else (None, entry)
            inner = _file(store, Paired(pair.path, pair.path, kind, *sides), limits)
            truncated = truncated or inner.truncated
            parts.append(inner.patch)
            added, removed = file.added + inner.added, file.removed + inner.removed
            file = replace(file, added=added, removed=removed, binary=inner.binary)
    return replace(file, truncated=truncated, patch=b"".join(parts))


def _headers(pair: Paired) -> bytes:
    old, new = pair.old, pair.new
    if old is None:
        assert new is not None
        return b"new file mode %06o\n" % _git_mode(new)
    if new is None:
        return b"deleted file mode %06o\n" % _git_mode(old)
    text = b""
    if old.mode != new.mode:
        text += b"old mode %06o\nnew mode %06o\n" % (_git_mode(old), _git_mode(new))
    if pair.kind == "renamed":
        text += b"similarity index 100%%\nrename from %b\nrename to %b\n" % (
            quote(pair.old_path),
            quote(pair.path),
        )
    return text


def _git_mode(entry: Entry) -> int:
    return 0o120000 if entry.kind == SYMLINK else 0o100000 | entry.mode


def _is_dir(entry: Entry | None) -> bool:
    return entry is not None and entry.kind == DIRECTORY


def _size(store: Store, entry: Entry | None) -> int:
    if entry is None or entry.kind == DIRECTORY:
        return 0
    return store.size(entry.value) if entry.kind == FILE else len(entry.value)


def _content(store: Store, entry: Entry | None) -> bytes:
    if entry is None:
        return b""
    return store.get(entry.value) if entry.kind == FILE else entry.value
