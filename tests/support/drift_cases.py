"""What a step and a user can do to the same tree, each as a shell line and on a plain in-memory tree.

A tree is a dictionary of paths: ("d", mode), ("f", mode, content), ("l", target). `FileNotFoundError`-like
failures of the shell are a `Failed` of the model. The merge is worked out by paths, independent of the product.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.trees import Tree

START: Tree = {
    b"f": ("f", 0o644, b"start\n"),
    b"f2": ("f", 0o644, b"start two\n"),
    b"other": ("f", 0o640, b"other\n"),
    b"d": ("d", 0o755),
    b"d/in": ("f", 0o644, b"in\n"),
    b"d/deep": ("d", 0o755),
    b"d/deep/er": ("f", 0o600, b"deeper\n"),
    b"d2": ("d", 0o755),
    b"d2/in": ("f", 0o644, b"in two\n"),
    b"l": ("l", b"other"),
    b"l2": ("l", b"f2"),
}


class Failed(Exception):
    """The shell line would have ended with another code than 0."""


@dataclass(frozen=True)
class Change:
    """`line` and `model` do the same; `{f}`, `{d}`, `{l}` are the things it is done to, `{who}` is its doer."""

    line: str
    model: Callable[[Tree, bytes, bytes, bytes, bytes], None]


def under(tree: Tree, path: bytes) -> list[bytes]:
    return [p for p in tree if p == path or p.startswith(path + b"/")]


def kind(tree: Tree, path: bytes) -> str:
    return str(tree[path][0]) if path in tree else ""


def write(tree: Tree, path: bytes, content: bytes) -> None:
    parent = path.rpartition(b"/")[0]
    if kind(tree, path) == "d" or (parent and kind(tree, parent) != "d"):
        raise Failed
    assert kind(tree, path) != "l", "not needed here"
    mode = tree[path][1] if path in tree else 0o644
    tree[path] = ("f", mode, content)


def unlink(tree: Tree, path: bytes) -> None:
    if kind(tree, path) in ("", "d"):
        raise Failed
    del tree[path]


def remove(tree: Tree, path: bytes) -> None:
    if path not in tree:
        raise Failed
    for each in under(tree, path):
        del tree[each]


def move(tree: Tree, path: bytes, to: bytes) -> None:
    if path not in tree:
        raise Failed
    for each in under(tree, path):
        tree[to + each[len(path) :]] = tree.pop(each)


def chmod(tree: Tree, path: bytes, mode: int) -> None:
    if kind(tree, path) == "":
        raise Failed
    tree[path] = (tree[path][0], mode, *tree[path][2:])


def to_directory(tree: Tree, path: bytes, who: bytes) -> None:
    unlink(tree, path)
    tree[path] = ("d", 0o755)
    write(tree, path + b"/" + who, who)


def to_file(tree: Tree, path: bytes, who: bytes) -> None:
    remove(tree, path)
    write(tree, path, who)


def swap(tree: Tree, path: bytes, who: bytes) -> None:
    unlink(tree, path)
    tree[path] = ("l", who)


def _mode(who: bytes) -> int:
    return 0o700 if who == b"ours" else 0o750


CHANGES: dict[str, Change] = {
    "edit": Change("printf {who} > {f}", lambda t, f, d, ln, who: write(t, f, who)),
    "delete": Change("rm {f}", lambda t, f, d, ln, who: unlink(t, f)),
    "rename": Change("mv {f} {f}-{who}", lambda t, f, d, ln, who: move(t, f, f + b"-" + who)),
    "chmod": Change("chmod {mode} {f}", lambda t, f, d, ln, who: chmod(t, f, _mode(who))),
    "file-to-directory": Change(
        "rm {f} && mkdir {f} && printf {who} > {f}/{who}", lambda t, f, d, ln, who: to_directory(t, f, who)
    ),
    "directory-to-file": Change(
        "rm -r {d} && printf {who} > {d}", lambda t, f, d, ln, who: to_file(t, d, who)
    ),
    "delete-directory": Change("rm -r {d}", lambda t, f, d, ln, who: remove(t, d)),
    "add-in-directory": Change(
        "printf {who} > {d}/{who}", lambda t, f, d, ln, who: write(t, d + b"/" + who, who)
    ),
    "symlink-swap": Change("rm {l} && ln -s {who} {l}", lambda t, f, d, ln, who: swap(t, ln, who)),
}

FILES: dict[str, tuple[str, str, Callable[[Tree], None]]] = {
    "edit": ("f", "ours", lambda t: write(t, b"f", b"ours")),
    "add-in-directory": ("d/ours", "ours", lambda t: write_with_parents(t, b"d/ours", b"ours")),
}
"""The same as an edit_file step: path, new content, and the model."""


def write_with_parents(tree: Tree, path: bytes, content: bytes) -> None:
    """As an edit does: missing directories are made."""
    parent = path.rpartition(b"/")[0]
    if parent not in tree:
        tree[parent] = ("d", 0o755)
    write(tree, path, content)


def line(name: str, who: str, *, apart: bool = False) -> str:
    """The shell line; `apart`: done to the second file, directory and link."""
    two = "2" if apart else ""
    mode = format(_mode(who.encode()), "o")
    return CHANGES[name].line.format(f="f" + two, d="d" + two, l="l" + two, who=who, mode=mode)


def after(tree: Tree, name: str, who: str, *, apart: bool = False) -> Tree:
    """The tree with the change made. Raises Failed."""
    two = b"2" if apart else b""
    out = dict(tree)
    CHANGES[name].model(out, b"f" + two, b"d" + two, b"l" + two, who.encode())
    return out


def edited(tree: Tree, name: str) -> Tree:
    """The tree with an edit_file step's change made. Raises Failed."""
    out = dict(tree)
    FILES[name][2](out)
    return out


def touched(tree: Tree) -> dict[bytes, tuple[Any, ...] | None]:
    """What differs from START, and what it is now (None: gone)."""
    return {p: tree.get(p) for p in START.keys() | tree.keys() if START.get(p) != tree.get(p)}


def merged(ours: Tree, theirs: Tree) -> Tree | None:
    """Both sides' changes, or None where they overlap."""
    mine, others = touched(ours), touched(theirs)
    if any(path in others and others[path] != mine[path] for path in mine):
        return None
    tree = {p: v for p, v in {**START, **others, **mine}.items() if v is not None}
    for path in tree:
        parent = path.rpartition(b"/")[0]
        if parent and kind(tree, parent) != "d":
            return None
    return tree


def by_hand(live: Path, shell_line: str) -> None:
    """The user does it in the live directory."""
    subprocess.run(["sh", "-ec", "umask 022; " + shell_line], cwd=live, check=True)
