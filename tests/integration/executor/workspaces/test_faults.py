"""What goes wrong outside: full disks, missing directories, other processes, many threads."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.support.trees import Tree, mutate, read_tree, write_tree

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files import failpoints
from interlock.executor.snapshots.store import BIG_BYTES
from interlock.executor.workspaces import DirectorySource, Workspaces

START: Tree = {b"a": ("f", 0o644, b"a"), b"d": ("d", 0o755), b"d/b": ("f", 0o644, b"b")}


@pytest.fixture
def fail_at() -> Iterator[Callable[[str, int], None]]:
    """Makes a point raise an OSError once, as a full or broken disk would."""

    def arm(name: str, code: int) -> None:
        def action(passed: str) -> None:
            if passed == name:
                failpoints.action = None
                raise OSError(code, os.strerror(code))

        failpoints.action = action

    yield arm
    failpoints.action = None


@pytest.mark.parametrize("where", ["publish.base.staged", "publish.live.staged"])
def test_a_full_disk_while_staging_changes_nothing(
    spaces: Workspaces, live: Path, fail_at: Any, where: str
) -> None:
    write_tree(live, START)
    workspace = spaces.create(DirectorySource(live))
    captured = spaces.edit(workspace.id, workspace.head, "a", b"new")
    fail_at(where, errno.ENOSPC)
    with pytest.raises(InterlockError, match="Nothing was changed") as caught:
        spaces.publish(workspace.id, captured.base_tree, captured.result_tree, key="k")
    assert caught.value.reason is Reason.STORE_FULL
    assert read_tree(live) == read_tree(spaces._layout.base(workspace.id)) == START
    assert spaces.get(workspace.id).head == workspace.head
    done = spaces.publish(workspace.id, captured.base_tree, captured.result_tree, key="k")
    assert done.how == "published"
    assert (live / "a").read_bytes() == b"new"


@pytest.mark.parametrize(
    "where", ["publish.base.entry", "publish.live.entry", "publish.live.directory", "publish.live.done"]
)
def test_an_error_in_the_middle_is_finished_at_the_next_use(
    spaces: Workspaces, live: Path, fail_at: Any, where: str
) -> None:
    write_tree(live, START)
    workspace = spaces.create(DirectorySource(live))
    captured = spaces.edit(workspace.id, workspace.head, "d/new/deep", b"new")
    fail_at(where, errno.EIO)
    with pytest.raises(InterlockError, match="half-way") as caught:
        spaces.publish(workspace.id, captured.base_tree, captured.result_tree, key="k")
    assert caught.value.reason is Reason.UNAVAILABLE, "what will be finished must not be called failed"
    done = spaces.publish(workspace.id, captured.base_tree, captured.result_tree, key="k")
    assert (done.how, done.head_tree) == ("already", captured.result_tree)
    assert read_tree(live) == read_tree(spaces._layout.base(workspace.id))
    assert (live / "d/new/deep").read_bytes() == b"new"


def test_a_live_directory_that_is_gone_is_named_and_may_come_back(
    spaces: Workspaces, room: Path, live: Path
) -> None:
    write_tree(live, START)
    workspace = spaces.create(DirectorySource(live))
    captured = spaces.edit(workspace.id, workspace.head, "a", b"new")
    live.rename(room / "away")
    for act in (
        lambda: spaces.fork(workspace.id),
        lambda: spaces.publish(workspace.id, captured.base_tree, captured.result_tree),
        lambda: spaces.read_file(workspace.id, "a"),
    ):
        with pytest.raises(InterlockError, match="live cannot be opened") as caught:
            act()
        assert caught.value.reason is Reason.WORKSPACE_SOURCE_INVALID
    live.symlink_to(room / "away")
    with pytest.raises(InterlockError, match="live cannot be opened"):
        spaces.publish(workspace.id, captured.base_tree, captured.result_tree)
    live.unlink()
    (room / "away").rename(live)
    spaces.publish(workspace.id, captured.base_tree, captured.result_tree)
    assert (live / "a").read_bytes() == b"new"


def test_a_parent_replaced_by_a_symlink_leads_nowhere(spaces: Workspaces, room: Path) -> None:
    """Whoever may rename a parent of the directory must not get the executor to read or write elsewhere."""
    live, victim = room / "parent/live", room / "victim/live"
    for path in (live, victim):
        path.mkdir(parents=True)
        write_tree(path, START)
    workspace = spaces.create(DirectorySource(live))
    captured = spaces.edit(workspace.id, workspace.head, "a", b"2")
    (victim / "secret").write_bytes(b"secret")
    before = read_tree(victim)
    (room / "parent").rename(room / "moved")
    (room / "parent").symlink_to(room / "victim")

    for use in (
        lambda: spaces.publish(workspace.id, captured.base_tree, captured.result_tree),
        lambda: spaces.look_for_drift(workspace.id),
        lambda: spaces.fork(workspace.id),
    ):
        with pytest.raises(InterlockError) as caught:
            use()
        assert caught.value.reason is Reason.WORKSPACE_SOURCE_INVALID
    assert read_tree(victim) == before

    (room / "parent").unlink()
    (room / "moved").rename(room / "parent")
    spaces.publish(workspace.id, captured.base_tree, captured.result_tree)
    assert (live / "a").read_bytes() == b"2"


def test_what_the_executor_keeps_is_closed_to_other_users(
    open_spaces: Callable[..., Workspaces], room: Path, live: Path
) -> None:
    """The executor's directory can be traversed by everybody, so every file in it has to be private."""
    spaces = open_spaces()
    spaces.create(DirectorySource(live))
    found = [path for path in (room / "executor").rglob("*") if ".db" in path.name]
    assert {path.name for path in found} >= {"workspaces.db", "objects.db"}
    assert [path for path in found if path.stat().st_mode & 0o077] == []
    spaces.close()
    for path in found:
        if path.exists():
            path.chmod(0o644)  # as an earlier release left it
    open_spaces()
    assert [path for path in found if path.exists() and path.stat().st_mode & 0o077] == []


def test_only_one_executor_uses_a_directory(open_spaces: Callable[..., Workspaces], live: Path) -> None:
    first = open_spaces()
    with pytest.raises(InterlockError, match="Another executor") as caught:
        open_spaces()
    assert caught.value.reason is Reason.UNAVAILABLE
    write_tree(live, START)
    workspace = first.create(DirectorySource(live), labels={"team": "é"})
    fork = first.fork(workspace.id)
    first.close()
    second = open_spaces()
    assert second.list_workspaces() == [workspace]
    assert not fork.upper.exists(), "no fork outlives its process"
    assert second.fork(workspace.id).drift is None


def test_keys_name_one_publication(spaces: Workspaces, live: Path) -> None:
    write_tree(live, START)
    workspace = spaces.create(DirectorySource(live))
    one = spaces.edit(workspace.id, workspace.head, "a", b"1")
    first = spaces.publish(workspace.id, one.base_tree, one.result_tree, key="run-1/step-1")
    again = spaces.publish(workspace.id, one.base_tree, one.result_tree, key="run-1/step-1")
    assert (again.head_tree, again.how) == (first.head_tree, "already")
    two = spaces.edit(workspace.id, first.head_tree, "a", b"2")
    with pytest.raises(InterlockError) as caught:
        spaces.publish(workspace.id, two.base_tree, two.result_tree, key="run-1/step-1")
    assert caught.value.reason is Reason.REQUEST_ID_REUSED
    spaces.publish(workspace.id, two.base_tree, two.result_tree, key="run-1/step-2")
    late = spaces.publish(workspace.id, one.base_tree, one.result_tree, key="run-1/step-1")
    assert late.how == "already", "a late repeat does not bring the old tree back"
    assert (live / "a").read_bytes() == b"2"


def test_unknown_things_are_typed(spaces: Workspaces, live: Path) -> None:
    write_tree(live, START)
    workspace = spaces.create(DirectorySource(live))
    other = "sha256:" + "0" * 64
    for act, reason in (
        (lambda: spaces.get("ws-none"), Reason.WORKSPACE_NOT_FOUND),
        (lambda: spaces.fork("ws-none"), Reason.WORKSPACE_NOT_FOUND),
        (lambda: spaces.publish("ws-none", other, other), Reason.WORKSPACE_NOT_FOUND),
        (lambda: spaces.publish(workspace.id, workspace.head, other), Reason.TREE_NOT_FOUND),
        (lambda: spaces.rollback(workspace.id, other), Reason.TREE_NOT_FOUND),
        (lambda: spaces.rollback(workspace.id, "sha256:x"), Reason.INVALID_ARGUMENT),
        (lambda: spaces.diff(workspace.id, workspace.head, other), Reason.TREE_NOT_FOUND),
        (lambda: spaces.read_file(workspace.id, "a", tree=other), Reason.TREE_NOT_FOUND),
        (lambda: spaces.read_file(workspace.id, "none", tree=workspace.head), Reason.PATH_NOT_FOUND),
        (lambda: spaces.read_file(workspace.id, "d", tree=workspace.head), Reason.PATH_IS_DIRECTORY),
        (lambda: spaces.read_file(workspace.id, "../a", tree=workspace.head), Reason.PATH_OUTSIDE_WORKSPACE),
        (lambda: spaces.create(DirectorySource(live), workspace="bad id"), Reason.INVALID_ARGUMENT),
        (lambda: spaces.edit(workspace.id, workspace.head, "d", b""), Reason.PATH_IS_DIRECTORY),
        (lambda: spaces.edit(workspace.id, workspace.head, "a/b", b""), Reason.PATH_NOT_REGULAR),
        (lambda: spaces.edit(workspace.id, workspace.head, "none", None), Reason.PATH_NOT_FOUND),
        (lambda: spaces.edit(workspace.id, workspace.head, "/a", b""), Reason.PATH_OUTSIDE_WORKSPACE),
    ):
        with pytest.raises(InterlockError) as caught:
            act()
        assert caught.value.reason is reason


def test_edits_without_a_fork(spaces: Workspaces, live: Path) -> None:
    write_tree(live, {**START, b"l": ("l", b"a"), b"out": ("l", b"../x"), b"x": ("f", 0o755, b"#!")})
    workspace = spaces.create(DirectorySource(live))
    head = workspace.head
    for path, reason in (("l", Reason.PATH_NOT_REGULAR), ("out/f", Reason.PATH_OUTSIDE_WORKSPACE)):
        with pytest.raises(InterlockError) as caught:
            spaces.edit(workspace.id, head, path, b"")
        assert caught.value.reason is reason
    same = spaces.edit(workspace.id, head, "a", b"a")
    assert (same.result_tree, same.changes) == (head, ())
    for path, content in (("x", b"#!new"), ("new/deep/file", b"n"), ("d/b", None), ("l", None)):
        captured = spaces.edit(workspace.id, head, path, content)
        head = spaces.publish(workspace.id, head, captured.result_tree).head_tree
    assert read_tree(live) == {
        b"a": ("f", 0o644, b"a"),
        b"d": ("d", 0o755),
        b"out": ("l", b"../x"),
        b"x": ("f", 0o755, b"#!new"),
        b"new": ("d", 0o755),
        b"new/deep": ("d", 0o755),
        b"new/deep/file": ("f", 0o644, b"n"),
    }
    assert [item.cause for item in spaces.heads(workspace.id)] == ["import"] + ["publish"] * 4


def test_big_files_all_the_way(spaces: Workspaces, live: Path) -> None:
    big = os.urandom(2 * BIG_BYTES + 3)
    (live / "big").write_bytes(big)
    workspace = spaces.create(DirectorySource(live))
    assert (
        spaces.read_file(workspace.id, "big", tree=workspace.head, offset=BIG_BYTES - 1, limit=9).data
        == (big[BIG_BYTES - 1 : BIG_BYTES + 8])
    )
    fork = spaces.fork(workspace.id)
    mutate(bytes(fork.upper), [("append", b"big", b"tail"), ("write", b"copy", big)])
    captured = spaces.capture(fork)
    spaces.publish(workspace.id, captured.base_tree, captured.result_tree, fork=fork)
    assert (live / "big").read_bytes() == big + b"tail"
    spaces.rollback(workspace.id, workspace.head)
    assert read_tree(live) == {b"big": ("f", 0o644, big)}


def test_the_users_git_directory_is_content_like_any_other(spaces: Workspaces, live: Path) -> None:
    tree: Tree = {b".git": ("d", 0o755), b".git/HEAD": ("f", 0o644, b"ref: x\n"), b"f": ("f", 0o644, b"f")}
    write_tree(live, tree)
    before = read_tree(live, mtimes=True)
    workspace = spaces.create(DirectorySource(live))
    captured = spaces.edit(workspace.id, workspace.head, "f", b"new")
    spaces.publish(workspace.id, captured.base_tree, captured.result_tree)
    spaces.rollback(workspace.id, workspace.head)
    assert read_tree(live, mtimes=True) == before
    moved = spaces.edit(workspace.id, workspace.head, ".git/HEAD", b"ref: y\n")
    spaces.publish(workspace.id, moved.base_tree, moved.result_tree)
    assert (live / ".git/HEAD").read_bytes() == b"ref: y\n"


def test_many_workspaces_at_once(spaces: Workspaces, room: Path) -> None:
    def work(number: int) -> bytes:
        live = room / f"live-{number}"
        live.mkdir()
        write_tree(live, START)
        workspace = spaces.create(DirectorySource(live))
        head = workspace.head
        for index in range(8):
            fork = spaces.fork(workspace.id)
            mutate(bytes(fork.upper), [("append", b"a", b"%d" % index), ("write", b"n%d" % index, b"x")])
            captured = spaces.capture(fork)
            spaces.discard(fork)
            head = spaces.publish(workspace.id, head, captured.result_tree).head_tree
        base = spaces._layout.base(workspace.id)
        assert read_tree(live) == read_tree(base)
        spaces.rollback(workspace.id, workspace.head)
        assert read_tree(live) == START
        return head.encode()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(work, range(6)))) == 1, "equal work gives equal ids"


def test_one_workspace_from_many_threads(spaces: Workspaces, live: Path) -> None:
    write_tree(live, START)
    workspace = spaces.create(DirectorySource(live))
    results = [spaces.edit(workspace.id, workspace.head, f"f{i}", b"x") for i in range(8)]

    def work(index: int) -> str:
        try:
            spaces.publish(workspace.id, workspace.head, results[index].result_tree)
        except InterlockError as error:
            return error.reason.value
        return "published"

    with ThreadPoolExecutor(8) as pool:
        outcomes = sorted(pool.map(work, range(8)))
    assert outcomes == ["WORKSPACE_HEAD_MOVED"] * 7 + ["published"]
    assert len(os.listdir(live)) == 3


def test_a_removed_workspace_can_be_made_again(open_spaces: Callable[..., Workspaces], live: Path) -> None:
    spaces = open_spaces()
    write_tree(live, START)
    workspace = spaces.create(DirectorySource(live))
    spaces.remove(workspace.id)
    again = spaces.create(DirectorySource(live))
    assert again.head == workspace.head
    shutil.rmtree(live)
    spaces.remove(again.id)
    assert spaces.list_workspaces() == []


def test_a_register_of_an_earlier_release_has_workspaces_without_limits(
    open_spaces: Callable[..., Workspaces], room: Path, live: Path
) -> None:
    write_tree(live, START)
    first = open_spaces()
    made = first.create(DirectorySource(live))
    first.close()
    db = sqlite3.connect(first._layout.register)
    db.executescript(
        "ALTER TABLE workspaces DROP COLUMN limits; ALTER TABLE workspaces DROP COLUMN left_out;"
        "PRAGMA user_version=2;"
    )
    db.close()
    again = open_spaces()
    assert again.get(made.id) == made
    assert again.limits_of(made.id) == {}
    (room / "more").mkdir()
    bounded = again.create(DirectorySource(room / "more"), limits={"processes": 7})
    again.close()
    assert open_spaces().limits_of(bounded.id) == {"processes": 7}
