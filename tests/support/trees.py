"""Trees as plain values, read and written independently of the code under test."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from tests.support.trees_mutator import run

Tree = dict[bytes, tuple[Any, ...]]

NAMES = [
    b"a",
    b"b",
    b"src",
    b"x.txt",
    b"-rf",
    b"new\nline",
    b"\xff\xfe",
    "é".encode(),
    b"..c",
    b".git",
    b" sp",
]


def read_tree(top: Path | str, *, mtimes: bool = False) -> Tree:
    """Every path below `top`: ("d", mode), ("f", mode, content) or ("l", target); "?" for anything else."""
    found: Tree = {}
    root = os.fsencode(top)
    for here, directories, files in os.walk(root, onerror=_fail):
        for name in directories + files:
            path = os.path.join(here, name)
            status = os.lstat(path)
            mode = stat.S_IMODE(status.st_mode)
            value: tuple[Any, ...]
            if stat.S_ISLNK(status.st_mode):
                value = ("l", os.readlink(path))
            elif stat.S_ISDIR(status.st_mode):
                value = ("d", mode)
            elif stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    value = ("f", mode, file.read())
            else:
                value = ("?", mode)
            if mtimes and value[0] != "d":
                value = (*value, status.st_mtime_ns)
            found[os.path.relpath(path, root)] = value
    return found


def _fail(error: OSError) -> None:
    raise error


def write_tree(top: Path, tree: Tree) -> None:
    """Make `tree` in the empty directory `top`."""
    root = os.fsencode(top)
    for path in sorted(tree):
        full, value = os.path.join(root, path), tree[path]
        if value[0] == "d":
            os.mkdir(full, 0o700)
        elif value[0] == "l":
            os.symlink(value[1], full)
        else:
            with open(full, "wb") as file:
                file.write(value[2])
            os.chmod(full, value[1])
    for path in sorted(tree, reverse=True):
        if tree[path][0] == "d":
            os.chmod(os.path.join(root, path), tree[path][1])


mutate = run


names = st.sampled_from(NAMES)
paths = st.lists(names, min_size=1, max_size=4).map(b"/".join)
contents = st.one_of(
    st.binary(max_size=40), st.sampled_from([b"", b"one\n", b"two\n", b"one\ntwo\n", b"\0bin" * 20])
)
file_modes = st.sampled_from([0o644, 0o600, 0o755, 0o444, 0o640])
dir_modes = st.sampled_from([0o755, 0o700, 0o750])
targets = st.sampled_from([b"a", b"../x", b"/etc/passwd", b"\xff", b"src/a"])


@st.composite
def trees(draw: st.DrawFn, max_size: int = 14) -> Tree:
    """A random tree: parents always present, and always directories."""
    tree: Tree = {}
    for path in draw(st.lists(paths, max_size=max_size)):
        parents = [path[:i] for i in range(len(path)) if path[i : i + 1] == b"/"]
        if path in tree or any(tree.get(parent, ("d",))[0] != "d" for parent in parents):
            continue
        for parent in parents:
            tree.setdefault(parent, ("d", draw(dir_modes)))
        tree[path] = draw(
            st.one_of(
                st.tuples(st.just("f"), file_modes, contents),
                st.tuples(st.just("l"), targets),
                st.tuples(st.just("d"), dir_modes),
            )
        )
    return tree


def operations(tree: Tree) -> st.SearchStrategy[tuple[Any, ...]]:
    """One random change, aimed at what is there as often as not."""
    where = st.one_of(paths, st.sampled_from(sorted(tree))) if tree else paths
    return st.one_of(
        st.tuples(st.just("write"), where, contents),
        st.tuples(st.just("append"), where, contents),
        st.tuples(st.just("mkdir"), where, st.none()),
        st.tuples(st.just("remove"), where, st.none()),
        st.tuples(st.just("chmod"), where, file_modes.map(lambda m: m | 0o700)),
        st.tuples(st.just("link"), where, targets),
        st.tuples(st.just("move"), where, where),
        st.tuples(st.just("replace"), where, st.none()),
    )


def programs(tree: Tree, max_size: int = 12) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    return st.lists(operations(tree), max_size=max_size)


def copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True)
