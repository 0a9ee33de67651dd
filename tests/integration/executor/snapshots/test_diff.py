"""The rendered difference, judged by git: applied to the old tree it gives the new one."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.trees import Tree, mutate, programs, read_tree, trees, write_tree

from interlock.executor.convert.effects import change
from interlock.executor.files.root import Root
from interlock.executor.snapshots.diff import Diff, DiffLimits, diff_trees
from interlock.executor.snapshots.model import Limits, Snapshot
from interlock.executor.snapshots.scan import StatCache, scan
from interlock.executor.snapshots.store import Store
from interlock.v1 import step_pb2


@pytest.fixture
def store(tmp_path: Path) -> Any:
    made = Store(tmp_path / "store")
    yield made
    made.close()


def snapshot(store: Store, directory: Path) -> Snapshot:
    with Root.open(directory) as root:
        return scan(root, store.batch(), StatCache(), Limits()).snapshot


def diff_of(store: Store, place: Path, old: Tree, new: Tree, limits: DiffLimits | None = None) -> Diff:
    for name, tree in (("old", old), ("new", new)):
        subprocess.run(["rm", "-rf", place / name], check=True)
        (place / name).mkdir()
        write_tree(place / name, tree)
    return diff_trees(
        store, snapshot(store, place / "old"), snapshot(store, place / "new"), limits or DiffLimits()
    )


def comparable(tree: Tree) -> Tree:
    """What git can hold: no directories of their own, modes 644 and 755 only."""
    return {
        path: ("f", 0o755 if value[1] & 0o100 else 0o644, value[2]) if value[0] == "f" else value
        for path, value in tree.items()
        if value[0] != "d" and b".git" not in path.split(b"/")
    }


def git_apply(directory: Path, patch: bytes) -> None:
    done = subprocess.run(
        ["git", "-c", "core.fileMode=true", "apply", "--whitespace=nowarn", "--unidiff-zero", "-"],
        input=patch,
        cwd=directory,
        capture_output=True,
        check=False,
        env={
            "PATH": "/usr/bin:/bin",
            "GIT_CEILING_DIRECTORIES": str(directory.parent),
            "HOME": "/nonexistent",
        },
    )
    assert done.returncode == 0, (done.stderr, patch)


cases = trees().flatmap(lambda tree: st.tuples(st.just(tree), programs(tree, 6)))


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(case=cases, context=st.sampled_from([0, 1, 3]))
def test_git_applies_it(case: Any, context: int, store: Store, tmp_path: Path) -> None:
    def textual(tree: Tree) -> Tree:
        kept = {p: v for p, v in tree.items() if b".git" not in p.split(b"/")}
        return {
            p: ("f", 0o755 if v[1] & 0o100 else 0o644, v[2].replace(b"\0", b"0")) if v[0] == "f" else v
            for p, v in kept.items()
        }

    tree, program = case
    before = textual(tree)
    scratch = tmp_path / "scratch"
    subprocess.run(["rm", "-rf", scratch], check=True)
    scratch.mkdir()
    write_tree(scratch, before)
    mutate(bytes(scratch), program)
    after = textual(read_tree(scratch))

    found = diff_of(store, tmp_path, before, after, DiffLimits(context=context))

    assert not found.truncated
    assert {f.path for f in found.files} | {f.old_path for f in found.files} == {
        path.decode("utf-8", "surrogateescape")
        for path in before.keys() | after.keys()
        if before.get(path) != after.get(path)
    }
    if not comparable_change(before, after):
        return
    git_apply(tmp_path / "old", found.patch)
    assert comparable(read_tree(tmp_path / "old")) == comparable(after)


def comparable_change(before: Tree, after: Tree) -> bool:
    return comparable(before) != comparable(after)


F = ("f", 0o644)


def test_headers_as_git_writes_them(store: Store, tmp_path: Path) -> None:
    old: Tree = {
        b"gone": (*F, b"x\n"),
        b"mode": (*F, b"m\n"),
        b"was": (*F, b"moved content\n"),
        b"link": ("l", b"a"),
        b"bin": (*F, b"\0old"),
        b"kind": (*F, b"text\n"),
    }
    new: Tree = {
        b"mode": ("f", 0o755, b"m\n"),
        b"sp ace/now": ("f", 0o600, b"moved content\n"),
        b"sp ace": ("d", 0o755),
        b"link": ("l", b"b"),
        b"bin": (*F, b"\0newer"),
        b"kind": ("l", b"elsewhere"),
        b"empty": (*F, b""),
        b"\xff\n": (*F, b"1"),
    }
    found = diff_of(store, tmp_path, old, new)
    by_path = {file.path: file for file in found.files}
    assert by_path["mode"].patch == b"diff --git a/mode b/mode\nold mode 100644\nnew mode 100755\n"
    assert by_path["gone"].patch == (
        b"diff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
    )
    assert by_path["sp ace/now"].patch == (
        b"diff --git a/was b/sp ace/now\nold mode 100644\nnew mode 100600\n"
        b"similarity index 100%\nrename from was\nrename to sp ace/now\n"
    )
    assert (by_path["sp ace/now"].kind, by_path["sp ace/now"].old_path) == ("renamed", "was")
    assert by_path["link"].patch == (
        b"diff --git a/link b/link\n--- a/link\n+++ b/link\n@@ -1 +1 @@\n"
        b"-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n"
    )
    assert by_path["bin"].patch.endswith(b"Binary files a/bin and b/bin differ\n")
    assert (by_path["bin"].binary, by_path["bin"].old_size, by_path["bin"].new_size) == (True, 4, 6)
    assert b"deleted file mode 100644" in by_path["kind"].patch
    assert b"new file mode 120000" in by_path["kind"].patch
    assert by_path["empty"].patch == b"diff --git a/empty b/empty\nnew file mode 100644\n"
    assert by_path["\udcff\n"].patch.startswith(b'diff --git "a/\\377\\n" "b/\\377\\n"\n')
    assert by_path["sp ace"].patch == b"interlock: directory sp ace added, mode 0755\n"
    assert found.total == len(found.files) == 9


def test_everything_left_out_is_said(store: Store, tmp_path: Path) -> None:
    old: Tree = {b"%02d" % i: (*F, b"old\n" * 50) for i in range(20)}
    new: Tree = {b"%02d" % i: (*F, b"new %d\n" % i * 50) for i in range(20)}
    few = diff_of(store, tmp_path, old, new, DiffLimits(files=5))
    assert (len(few.files), few.total, few.truncated) == (5, 20, True)
    assert few.patch.endswith(b"interlock: 15 more changed paths are not shown\n")
    short = diff_of(store, tmp_path, old, new, DiffLimits(total_bytes=2000))
    assert short.truncated
    assert len(short.patch) < 2000 + 20 * 200
    assert len(short.files) == 20
    assert b"interlock: text left out\n" in short.patch
    large = diff_of(store, tmp_path, old, new, DiffLimits(compare_bytes=100))
    assert all(file.truncated for file in large.files)
    assert b"interlock: too large to compare (200 -> " in large.patch
    late = diff_of(store, tmp_path, old, new, DiffLimits(seconds=0))
    assert late.truncated
    assert all(b"interlock: text left out\n" in file.patch for file in late.files)


def test_renames_pair_equal_content_once(store: Store, tmp_path: Path) -> None:
    old: Tree = {b"a": (*F, b"same\n"), b"b": (*F, b"same\n"), b"void": (*F, b"")}
    new: Tree = {
        b"d": ("d", 0o755),
        b"d/b": (*F, b"same\n"),
        b"d/x": (*F, b"same\n"),
        b"d/y": (*F, b"same\n"),
    }
    found = diff_of(store, tmp_path, old, {**new, b"d/void": (*F, b"")})
    kinds = {file.path: (file.kind, file.old_path) for file in found.files}
    assert kinds["d/b"] == ("renamed", "b")
    assert kinds["d/x"] == ("renamed", "a")
    assert kinds["d/y"] == ("added", "d/y")
    assert kinds["void"] == ("deleted", "void"), "empty files are alike by accident"


AS: dict[str, Tree] = {
    "f": {b"x": ("f", 0o644, b"\0data")},
    "d": {b"x": ("d", 0o755), b"x/in": ("f", 0o644, b"1\n")},
    "l": {b"x": ("l", b"away")},
    "": {},
}


@pytest.mark.parametrize(("old", "new"), [(a, b) for a in AS for b in AS if a != b])
def test_what_takes_the_place_of_what_is_told(store: Store, tmp_path: Path, old: str, new: str) -> None:
    found = diff_of(store, tmp_path, AS[old], AS[new])
    (file,) = (file for file in found.files if file.path == "x")
    assert (file.old_type, file.new_type) == (old, new)
    assert file.kind == ("modified" if old and new else "added" if new else "deleted")
    assert file.binary == ("f" in (old, new)), "also where a directory takes its place"
    shown = change(file)
    sides = [
        step_pb2.EntryType.Name(side).removeprefix("ENTRY_TYPE_") for side in (shown.old_type, shown.new_type)
    ]
    names = {"f": "FILE", "d": "DIRECTORY", "l": "SYMLINK", "": "UNSPECIFIED"}
    assert sides == [names[old], names[new]]


def test_links_that_lead_out_are_told(store: Store, tmp_path: Path) -> None:
    before: Tree = {b"d": ("d", 0o755), b"d/way": ("l", b"../.."), b"in": ("l", b"d")}
    links = {
        b"abs": (b"/etc", True),
        b"d/up": (b"../../x", True),
        b"d/fine": (b"../d/none", False),
        b"dangling": (b"nowhere/there", False),
        b"back": (b"nowhere/../../x", True),
        b"over": (b"d/way/x", True),
        b"loop": (b"loop", True),
        b"to": (b"in/fine", False),
    }
    after = {**before, **{path: ("l", target) for path, (target, _) in links.items()}}
    found = diff_of(store, tmp_path, before, after)
    told = {file.path.encode(): (file.target.encode(), file.leads_out) for file in found.files}
    assert told == links
    gone = diff_of(store, tmp_path, after, before)
    assert not any(file.leads_out or file.target for file in gone.files)
