"""Trees as plain dictionaries: what a program does to one, how two sides merge, and the id of one.

Nothing here uses the code under test. A tree is what `tests.support.trees.read_tree` gives.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tests.support.trees import Tree, mutate, read_tree, write_tree

Program = list[tuple[Any, ...]]


def after(tree: Tree, program: Program) -> Tree:
    """The tree a program leaves, found by running it on an ordinary directory."""
    with tempfile.TemporaryDirectory() as scratch:
        top = Path(scratch) / "top"
        top.mkdir()
        mask = os.umask(0o022)
        try:
            write_tree(top, tree)
            mutate(bytes(top), program)
            return read_tree(top)
        finally:
            os.umask(mask)


def merged(base: Tree, ours: Tree, theirs: Tree) -> Tree | None:
    """Both sides' changes by whole paths; None when they overlap.

    A directory that one side removes, while the other changes anything in it, is an overlap.
    """
    result: Tree = {}
    for path in base.keys() | ours.keys() | theirs.keys():
        old, mine, other = base.get(path), ours.get(path), theirs.get(path)
        if _removed_under_changes(path, base, ours, theirs) or _removed_under_changes(
            path, base, theirs, ours
        ):
            return None
        if mine != other and old not in (mine, other):
            return None
        value = other if mine == old else mine
        if value is not None:
            result[path] = value
    return result if _is_tree(result) else None


def folded(tree: Tree, changes: list[tuple[Tree, Tree]]) -> Tree | None:
    """A tree with changes (from, to) made to it one after the other; None when one of them overlaps."""
    found: Tree | None = tree
    for old, new in changes:
        if found is not None:
            found = merged(old, new, found)
    return found


def changed(old: Tree, new: Tree) -> set[bytes]:
    """Paths that differ."""
    return {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}


def _removed_under_changes(path: bytes, base: Tree, remover: Tree, changer: Tree) -> bool:
    if not (_is_dir(base, path) and not _is_dir(remover, path) and _is_dir(changer, path)):
        return False
    below = path + b"/"
    inside = {name for name in base.keys() | changer.keys() if name.startswith(below)}
    return any(base.get(name) != changer.get(name) for name in inside)


def _is_dir(tree: Tree, path: bytes) -> bool:
    return path in tree and tree[path][0] == "d"


def _is_tree(tree: Tree) -> bool:
    return all(_is_dir(tree, os.path.dirname(path)) for path in tree if b"/" in path)


def tree_id(tree: Tree) -> str:
    """The id by docs/tree-format.md."""
    return "sha256:" + _directory(tree, b"").hex()


def _directory(tree: Tree, top: bytes) -> bytes:
    data = b"interlock.tree.v1\n"
    for path in sorted(path for path in tree if os.path.dirname(path) == top):
        name, value = os.path.basename(path), tree[path]
        mode = 0 if value[0] == "l" else value[1]
        data += value[0].encode() + mode.to_bytes(2, "big") + len(name).to_bytes(2, "big") + name
        if value[0] == "l":
            data += len(value[1]).to_bytes(4, "big") + value[1]
        elif value[0] == "d":
            data += _directory(tree, path)
        else:
            data += hashlib.sha256(value[2]).digest()
    return hashlib.sha256(data).digest()


def replace_with(top: Path, tree: Tree) -> None:
    """Make a directory hold exactly this tree, as a person with an editor would."""
    for entry in list(top.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    write_tree(top, tree)
