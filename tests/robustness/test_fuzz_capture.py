"""What a fork's capture says of random changes: every path by its kind, and a diff that git applies to the byte."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from tests.support.fuzz.driving import hunt, lengths
from tests.support.trees import Tree, read_tree, write_tree

from interlock.executor.workspaces import DirectorySource, Workspaces

NAMES = [
    b"a", b"b", b"-rf", b"--help", b"new\nline", b"\xff\xfe", b'qu"ote', b"back\\slash", b"tab\t", b"sp  ace",
    b"\x1b[2J",
    b"\x7f", "é".encode(), "\u202e".encode(), "\u2028".encode(), b"diff --git a", b"+++ b", b"@@ -1 +1 @@", b"=>",
    b"dev", b"..x", b"\r", b"x\r\ny", b"$(id)", b"n" * 200,
]  # fmt: skip
CONTENTS = [
    b"",
    b"one\n",
    b"one",
    b"one\r\ntwo\r\n",
    b"\0bin",
    b"--- a/x\n+++ b/x\n",
    b"@@ -1 +1 @@\n",
    b"\xff\n",
    b"\n" * 9,
]

names = st.sampled_from(NAMES)
paths = st.lists(names, min_size=1, max_size=3).map(b"/".join)
leaves = st.one_of(
    st.tuples(st.just("f"), st.sampled_from([0o644, 0o755, 0o600, 0o4, 0o777]), st.sampled_from(CONTENTS)),
    st.tuples(st.just("f"), st.just(0o644), st.binary(max_size=60)),
    st.tuples(st.just("l"), st.sampled_from([b"a", b"../..", b"/etc", b"new\nline", b"\xff", b"."])),
    st.tuples(st.just("d"), st.sampled_from([0o755, 0o700])),
)


@st.composite
def tree_pairs(draw: Any) -> tuple[Tree, Tree]:
    """Two trees over the same few names, so that a path is often of another kind on the other side."""
    chosen = draw(st.lists(paths, max_size=9, unique=True))
    return _tree(draw, chosen), _tree(draw, chosen)


def _tree(draw: Any, chosen: list[bytes]) -> Tree:
    tree: Tree = {}
    for path in chosen:
        if not draw(st.integers(0, 3)):
            continue
        parents = [path[:at] for at in range(len(path)) if path[at : at + 1] == b"/"]
        if path in tree or any(tree.get(parent, ("d",))[0] != "d" for parent in parents):
            continue
        for parent in parents:
            tree.setdefault(parent, ("d", 0o755))
        tree[path] = draw(leaves)
    return tree


def kind_of(old: Any, new: Any) -> str:
    """What a path's change is called."""
    if old is None or new is None:
        return "deleted" if new is None else "added"
    same = old[0] == new[0] and (old[2:] == new[2:] if old[0] == "f" else old[0] == "d")
    return "mode" if same else "modified"


def expected(old: Tree, new: Tree) -> dict[bytes, str]:
    """The changes by path, from the trees alone."""
    return {p: kind_of(old.get(p), new.get(p)) for p in old.keys() | new.keys() if old.get(p) != new.get(p)}


def textual(tree: Tree) -> Tree:
    """What git can hold and shows as text: two modes, no directories of their own, no NULs."""
    return {
        path: ("f", 0o755 if value[1] & 0o100 else 0o644, value[2]) if value[0] == "f" else value
        for path, value in tree.items()
        if value[0] != "d"
    }


@pytest.fixture
def room() -> Iterator[Path]:
    """A directory that every user can reach, in memory where possible."""
    path = Path(
        tempfile.mkdtemp(prefix="interlock-fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    )
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


class Room:
    """A fresh workspace for each pair of trees."""

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0
        self.spaces = Workspaces(path / "state", owner=None, copy_forks=True)

    def check(self, pair: tuple[Tree, Tree]) -> None:
        old, new = pair
        self.count += 1
        live = self.path / f"live{self.count}"
        live.mkdir()
        write_tree(live, old)
        here = self.spaces.create(DirectorySource(live))
        fork = self.spaces.fork(here.id)
        _become(Path(fork.upper), new)
        captured = self.spaces.capture(fork)
        assert {os.fsencode(c.path): c.kind for c in captured.changes} == expected(old, new)
        diff = self.spaces.diff(here.id, captured.base_tree, captured.result_tree)
        _inert(diff.patch)
        self._git(live, old, new, diff.patch)
        assert read_tree(live) == old
        self.spaces.discard(fork)
        self.spaces.remove(here.id)
        shutil.rmtree(live)

    def _text(self, old: Tree, new: Tree) -> bool:
        return not any(v[0] == "f" and b"\0" in v[2] for v in [*old.values(), *new.values()])

    def _git(self, live: Path, old: Tree, new: Tree, patch: bytes) -> None:
        if textual(old) == textual(new) or not self._text(old, new) or _in_the_way(old, new):
            return
        copy = self.path / f"copy{self.count}"
        copy.mkdir()
        write_tree(copy, old)
        argv = ["git", "apply", "--whitespace=nowarn", "-"]
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": "/nonexistent",
            "GIT_CEILING_DIRECTORIES": str(self.path),
        }
        done = subprocess.run(argv, input=patch, cwd=copy, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, (done.stderr, patch)
        assert textual(read_tree(copy)) == textual(new)
        shutil.rmtree(copy)


def _in_the_way(old: Tree, new: Tree) -> bool:
    """Git knows no empty directories: it removes one in whose place a file comes, and none below that."""
    holders = {path[:at] for path in textual(old) for at, byte in enumerate(path) if byte == ord("/")}
    empty = [path for path, value in old.items() if value[0] == "d" and path not in holders]
    tops = [path for path, value in new.items() if value[0] != "d" and path in old and old[path][0] == "d"]
    return any(path.startswith(top + b"/") for path in empty for top in tops)


def _become(top: Path, tree: Tree) -> None:
    """Everything in the directory goes, and the tree comes in its place."""
    for name in os.listdir(os.fsencode(top)):
        there = os.path.join(os.fsencode(top), name)
        if os.path.isdir(there) and not os.path.islink(there):
            shutil.rmtree(there)
        else:
            os.unlink(there)
    write_tree(top, tree)


def _inert(patch: bytes) -> None:
    """Lines with names hold nothing that a terminal obeys or that looks like another line."""
    for line in patch.split(b"\n"):
        if line.startswith((b"diff --git ", b"--- ", b"+++ ", b"rename ", b"interlock: ")) and b"/" in line:
            assert all(32 <= byte < 127 or byte == 9 for byte in line), line


@lengths(60, 3000)
def test_a_capture_is_exactly_what_changed_and_git_makes_the_new_tree_of_its_diff(
    room: Path, examples: int
) -> None:
    place = Room(room)
    try:
        hunt(examples, place.check, tree_pairs())
    finally:
        place.spaces.close()


@pytest.mark.parametrize("name", [b"a", b"b"])
def test_pairs_that_random_ones_have_found(room: Path, name: bytes) -> None:
    """Empty directories within one another, in whose place a file comes."""
    place = Room(room)
    try:
        place.check(({name: ("d", 0o755), name + b"/c": ("d", 0o755)}, {name: ("f", 0o644, b"")}))
    finally:
        place.spaces.close()
