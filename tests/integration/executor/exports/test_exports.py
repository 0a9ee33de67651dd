"""Exports of real trees, read back by the programs they are for: tar and git."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.trees import Tree, mutate, programs, read_tree, trees, write_tree

from interlock.client.exporting.unpack import Unpacker
from interlock.common.digests import digest_bytes
from interlock.common.errors import InterlockError, Reason
from interlock.executor.exports.git import Commit, Omissions, fast_import
from interlock.executor.exports.tar import tar
from interlock.executor.workspaces import DirectorySource, Workspaces

ODD: Tree = {
    b"plain": ("f", 0o644, b"plain\n"),
    b"empty": ("f", 0o600, b""),
    b"block": ("f", 0o755, b"x" * 512),
    b"-rf": ("f", 0o644, b"dash"),
    b"new\nline": ("f", 0o644, b"n"),
    b'"quoted\\': ("f", 0o644, b"q"),
    b"\xff\xfe": ("f", 0o444, b"bytes"),
    b" space ": ("d", 0o755),
    b" space /\xc3\xa9": ("f", 0o644, b"e"),
    b"void": ("d", 0o700),
    b"void/inner": ("d", 0o755),
    b"n" * 255: ("f", 0o644, b"long"),
    b"d" * 200: ("d", 0o555),
    b"d" * 200 + b"/" + b"e" * 200: ("f", 0o644, b"deep"),
    b"link": ("l", b"plain"),
    b"away": ("l", b"/etc/passwd"),
    b"far": ("l", b"../" * 60),
    b"big": ("f", 0o644, os.urandom(3 << 20)),
    b".git": ("d", 0o755),
    b".git/config": ("f", 0o644, b"[core]\n"),
    b".gitattributes": ("f", 0o644, b"* text eol=crlf ident\n"),
    b"ident": ("f", 0o644, b"$Id$\r\nlines\n"),
}


@pytest.fixture
def spaces(tmp_path: Path) -> Iterator[Workspaces]:
    made = Workspaces(tmp_path / "executor", copy_forks=True)
    yield made
    made.close()


class Room:
    """Trees as workspaces, and directories to write into."""

    def __init__(self, spaces: Workspaces, place: Path) -> None:
        self.spaces, self.place, self.made = spaces, place, 0

    def new(self) -> Path:
        self.made += 1
        path = self.place / f"dir{self.made}"
        path.mkdir()
        return path

    def tree(self, tree: Tree) -> bytes:
        path = self.new()
        write_tree(path, tree)
        return self.id_of(path)

    def id_of(self, path: Path) -> bytes:
        return digest_bytes(self.spaces.create(DirectorySource(path)).head)

    def tar(self, tree: bytes) -> bytes:
        return b"".join(tar(self.spaces.store, tree))

    def repository(self, commits: list[Commit], omissions: Omissions) -> Path:
        path = self.new()
        git(path, "init", "-q", "--template=", "-b", "main")
        (path / ".git" / "info").mkdir()
        (path / ".git" / "info" / "attributes").write_text("* -text !eol -ident -filter\n")
        stream = b"".join(fast_import(self.spaces.store, commits, omissions))
        git(path, "fast-import", "--quiet", "--done", said=stream)
        return path


@pytest.fixture
def room(spaces: Workspaces, tmp_path: Path) -> Room:
    return Room(spaces, tmp_path)


def git(path: Path, *arguments: str, said: bytes = b"") -> bytes:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", "-C", str(path), *arguments], input=said, capture_output=True, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    return done.stdout


def unpack(archive: bytes, into: Path, piece: int) -> None:
    unpacker = Unpacker(into)
    try:
        for at in range(0, len(archive), piece):
            unpacker.write(archive[at : at + piece])
        unpacker.finish()
    finally:
        unpacker.close()


@pytest.mark.parametrize("piece", [511, 100_000])
def test_a_directory_is_the_tree_again(room: Room, piece: int) -> None:
    tree, out = room.tree(ODD), room.new()
    unpack(room.tar(tree), out, piece)
    assert read_tree(out) == ODD
    assert room.id_of(out) == tree


def test_gnu_tar_and_python_read_the_same(room: Room) -> None:
    tree, out = room.tree(ODD), room.new()
    archive = room.tar(tree)
    subprocess.run(["tar", "-xp", "-C", out], input=archive, check=True)
    assert read_tree(out) == ODD
    with tarfile.open(fileobj=io.BytesIO(archive), encoding="utf-8", errors="surrogateescape") as opened:
        members = opened.getmembers()
    names = [os.fsencode(m.name) for m in members]
    assert names == sorted(names, key=lambda name: name.split(b"/"))
    assert set(names) == set(ODD)
    facts = {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members}
    assert facts == {(0, 0, "", "", 0)}
    assert len(archive) % 10240 == 0


def test_the_bytes_depend_on_the_tree_alone(room: Room, tmp_path: Path) -> None:
    first, again = room.new(), room.new()
    write_tree(first, ODD)
    write_tree(again, dict(reversed(ODD.items())))
    os.utime(again / "plain", (1, 1))
    other = Workspaces(tmp_path / "another", copy_forks=True)
    try:
        tree = digest_bytes(other.create(DirectorySource(again)).head)
        assert b"".join(tar(other.store, tree)) == room.tar(room.id_of(first))
    finally:
        other.close()


def test_an_empty_tree(room: Room) -> None:
    tree = room.tree({})
    assert room.tar(tree) == b"\0" * 10240
    path = room.repository([Commit(tree, b"nothing\n", 1)], Omissions())
    assert git(path, "ls-tree", "-r", "main") == b""


def test_a_file_of_many_gigabytes_has_a_size_that_tar_understands() -> None:
    from interlock.executor.exports.tar import _header

    block = _header(b"huge", b"0", 0o644, size=9 << 30)
    assert tarfile.TarInfo.frombuf(block, "utf-8", "strict").size == 9 << 30


def expressible(tree: Tree) -> Tree:
    """What git can carry of a tree: no `.git`, no empty directories, of modes only the owner's x."""
    kept: Tree = {}
    for path, value in tree.items():
        if value[0] == "d" or b".git" in path.split(b"/"):
            continue
        kept[path] = ("f", 0o755 if value[1] & 0o100 else 0o644, value[2]) if value[0] == "f" else value
        parents = path.split(b"/")[:-1]
        kept.update({b"/".join(parents[: n + 1]): ("d", 0o755) for n in range(len(parents))})
    return kept


def checked_out(room: Room, repository: Path, commit: str) -> Tree:
    out = room.new()
    old = os.umask(0o022)
    try:
        git(repository, f"--work-tree={out}", "read-tree", "-u", "--reset", commit)
    finally:
        os.umask(old)
    return read_tree(out)


def test_a_repository_holds_what_git_can_carry_and_the_rest_is_named(room: Room) -> None:
    omissions = Omissions()
    path = room.repository([Commit(room.tree(ODD), b"odd\n", 1_700_000_000)], omissions)
    assert git(path, "fsck", "--strict") == b""
    assert checked_out(room, path, "main") == expressible(ODD)
    named = {(one.path, one.kind) for one in omissions.kept}
    assert named == {
        (b"empty", "mode"),
        (b"\xff\xfe", "mode"),
        (b"void", "mode"),
        (b"d" * 200, "mode"),
        (b"void/inner", "empty_directory"),
        (b".git", "name"),
    }
    assert omissions.total == len(named)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_commit_is_the_tree_it_was_made_of(room: Room, data: st.DataObject) -> None:
    live = room.new()
    write_tree(live, data.draw(trees()))
    trees_, ids, commits = [], [], []
    for number in range(data.draw(st.integers(1, 4))):
        if number:
            mutate(bytes(live), data.draw(programs(read_tree(live), 6)))
        copy = room.new()
        trees_.append(read_tree(live))
        write_tree(copy, trees_[-1])
        ids.append(room.id_of(copy))
        commits.append(Commit(ids[-1], b"step %d\n\nInterlock-Step: %d\n" % (number, number), number))
    omissions = Omissions()
    path = room.repository(commits, omissions)
    assert git(path, "fsck", "--strict") == b""
    log = git(path, "log", "--reverse", "--format=%H %ct %s").decode().splitlines()
    assert [line.split(" ", 1)[1] for line in log] == [f"{n} step {n}" for n in range(len(commits))]
    left_out = {one.path for one in omissions.kept}
    for number, (line, tree) in enumerate(zip(log, trees_, strict=True)):
        assert checked_out(room, path, line.split()[0]) == expressible(tree), number
        if tree == expressible(tree):
            continue
        lost = {p for p, value in tree.items() if expressible(tree).get(p) != value}
        assert {p for p in lost if not _covered(p, tree, left_out)} == set()
    again = room.repository(commits, Omissions())
    assert git(again, "rev-parse", "main") == git(path, "rev-parse", "main")


def _covered(path: bytes, tree: Tree, named: set[bytes]) -> bool:
    """Whether something that is not carried is named itself, or lies below or around what is named."""
    parts = path.split(b"/")
    above = {b"/".join(parts[: n + 1]) for n in range(len(parts))}
    below = {other for other in tree if other.startswith(path + b"/")}
    return bool((above | below) & named)


def test_a_directory_that_becomes_empty_and_a_mode_that_changes_are_named_when_they_do(room: Room) -> None:
    full: Tree = {b"d": ("d", 0o755), b"d/f": ("f", 0o644, b"x"), b"m": ("f", 0o644, b"m")}
    later: Tree = {b"d": ("d", 0o755), b"m": ("f", 0o640, b"m")}
    omissions = Omissions()
    commits = [Commit(room.tree(tree), b"c\n", 1) for tree in (full, later, full)]
    path = room.repository(commits, omissions)
    assert {(one.commit, one.path, one.kind) for one in omissions.kept} == {
        (1, b"d", "empty_directory"),
        (1, b"m", "mode"),
    }
    assert checked_out(room, path, "main~1") == {b"m": ("f", 0o644, b"m")}
    assert checked_out(room, path, "main") == full


def test_a_link_called_gitmodules_is_left_out_and_a_file_is_not(room: Room) -> None:
    link: Tree = {b".gitmodules": ("l", b"x"), b"a": ("f", 0o644, b"a")}
    file: Tree = {b".gitmodules": ("f", 0o644, b""), b"a": ("f", 0o644, b"a")}
    omissions = Omissions()
    path = room.repository([Commit(room.tree(t), b"c\n", 1) for t in (link, file, link)], omissions)
    assert git(path, "fsck", "--strict") == b""
    assert [len(checked_out(room, path, commit)) for commit in ("main~2", "main~1", "main")] == [1, 2, 1]
    assert [(one.commit, one.kind) for one in omissions.kept] == [(0, "name"), (2, "name")]


def test_a_damaged_object_ends_the_export(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = room.tree({b"a": ("f", 0o644, b"content")})

    def missing(*_: Any) -> Any:
        raise InterlockError(Reason.INTERNAL, "damaged")

    monkeypatch.setattr(room.spaces.store, "chunks", missing)
    with pytest.raises(InterlockError):
        room.tar(tree)


def test_what_changes_below_a_nested_repository_is_left_out_of_every_commit(room: Room) -> None:
    """A step that commits changes entries below `.git` and not `.git` itself; so does one that empties them."""
    outer: Tree = {b".git": ("d", 0o755), b".git/refs": ("d", 0o755), b"a": ("f", 0o644, b"a")}
    nested: Tree = {b"n": ("d", 0o755), b"n/f": ("f", 0o644, b"f"), b"n/.git": ("d", 0o755)}
    before: Tree = {
        **outer,
        **nested,
        b".git/refs/old": ("f", 0o644, b"1"),
        b"n/.git/HEAD": ("f", 0o644, b"1"),
    }
    after: Tree = {
        **outer,
        **nested,
        b".git/refs/new": ("f", 0o600, b"2"),
        b"n/.git/HEAD": ("f", 0o644, b"2"),
    }
    after = {**after, b".git/objects": ("d", 0o700), b".git/objects/x": ("l", b"y")}
    bare: Tree = {**outer, **nested}
    omissions = Omissions()
    commits = [Commit(room.tree(tree), b"c\n", 1) for tree in (before, after, bare, before)]
    path = room.repository(commits, omissions)
    assert git(path, "fsck", "--strict") == b""
    for number, tree in enumerate((before, after, bare, before)):
        assert checked_out(room, path, f"main~{3 - number}") == expressible(tree), number
    assert {(one.commit, one.path, one.kind) for one in omissions.kept} == {
        (0, b".git", "name"),
        (0, b"n/.git", "name"),
    }
