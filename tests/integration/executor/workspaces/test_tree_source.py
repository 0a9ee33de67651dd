"""A workspace made of another one's tree: the same tree, no second import, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from tests.integration.executor.workspaces.test_kill_matrix import OLD, Scene
from tests.support.trees import Tree, read_tree, trees, write_tree

from interlock.common.errors import InterlockError, Reason
from interlock.executor.snapshots.model import Limits
from interlock.executor.workspaces import DirectorySource, TreeSource, Workspace, Workspaces

NAME = "ws-01jd9x5m7qv4s2k8t6w3y1z0ab"
KILLS = 6
"""Points on the way from the request to a finished workspace."""


@pytest.fixture
def origin(spaces: Workspaces, live: Path) -> Workspace:
    write_tree(live, OLD)
    return spaces.create(DirectorySource(live))


def refused(spaces: Workspaces, source: TreeSource) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        spaces.create(source)
    return caught.value


@pytest.mark.parametrize("there", ["absent", "empty", "managed"])
def test_it_is_the_same_tree_in_another_directory(
    spaces: Workspaces, origin: Workspace, room: Path, there: str
) -> None:
    out = room / "out"
    if there == "empty":
        out.mkdir(mode=0o751)
        out.chmod(0o751)
    made = spaces.create(TreeSource(origin.id, origin.head, None if there == "managed" else out))
    assert (made.head, made.entries, made.content_bytes) == (
        origin.head,
        origin.entries,
        origin.content_bytes,
    )
    assert read_tree(made.live, mtimes=True) == read_tree(origin.live, mtimes=True)
    assert made.live == (room / "executor" / "live" / made.id if there == "managed" else out)
    if there == "empty":
        assert out.stat().st_mode & 0o7777 == 0o751
    assert spaces.look_for_drift(made.id) is None
    assert sorted(os.listdir(room)) == ["executor", "live", *([] if there == "managed" else ["out"])]


def test_nothing_is_read_or_stored_again(spaces: Workspaces, origin: Workspace, room: Path) -> None:
    before = spaces.usage().objects
    made = spaces.create(TreeSource(origin.id, origin.head, room / "out"))
    assert spaces.usage().objects == before
    read: list[str] = []
    plain = os.read
    os_read = lambda fd, n: (read.append(os.readlink(f"/proc/self/fd/{fd}")), plain(fd, n))[1]  # noqa: E731
    try:
        os.read = os_read  # type: ignore[assignment]
        assert spaces.look_for_drift(made.id) is None
    finally:
        os.read = plain
    assert [path for path in read if path.startswith(str(made.live))] == []


def test_the_two_go_their_own_ways(spaces: Workspaces, origin: Workspace, room: Path) -> None:
    made = spaces.create(TreeSource(origin.id, origin.head, room / "out"))
    for workspace, name in ((origin, "mine"), (made, "yours")):
        captured = spaces.edit(workspace.id, workspace.head, name, b"x")
        spaces.publish(workspace.id, captured.base_tree, captured.result_tree)
    assert read_tree(origin.live) == {**OLD, b"mine": ("f", 0o644, b"x")}
    assert read_tree(made.live) == {**OLD, b"yours": ("f", 0o644, b"x")}
    spaces.remove(origin.id)
    spaces.rollback(made.id, made.head)
    assert read_tree(made.live) == OLD


def test_an_earlier_tree_of_the_workspace(spaces: Workspaces, origin: Workspace, room: Path) -> None:
    captured = spaces.edit(origin.id, origin.head, "later", b"x")
    spaces.publish(origin.id, captured.base_tree, captured.result_tree)
    made = spaces.create(TreeSource(origin.id, origin.head, room / "out"))
    assert read_tree(made.live) == OLD


def test_a_change_right_after_it_is_seen(spaces: Workspaces, origin: Workspace, room: Path) -> None:
    made = spaces.create(TreeSource(origin.id, origin.head, room / "out"))
    (made.live / "edit").write_bytes(b"BEFORE\n")  # of the same length
    drift = spaces.look_for_drift(made.id)
    assert drift is not None
    assert [change.path for change in drift.changes] == ["edit"]


def test_places_that_are_refused(spaces: Workspaces, origin: Workspace, room: Path) -> None:
    (room / "full").mkdir()
    (room / "full" / "x").touch()
    (room / "file").touch()
    (room / "link").symlink_to(room / "nowhere")
    before = sorted(os.listdir(room))
    for place, reason in (
        (origin.live, Reason.WORKSPACE_EXISTS),
        (origin.live / "inside", Reason.WORKSPACE_EXISTS),
        (room, Reason.WORKSPACE_SOURCE_INVALID),
        (room / "executor" / "x", Reason.WORKSPACE_SOURCE_INVALID),
        (room / "full", Reason.WORKSPACE_SOURCE_INVALID),
        (room / "file", Reason.WORKSPACE_SOURCE_INVALID),
        (room / "link", Reason.WORKSPACE_SOURCE_INVALID),
        (room / "no" / "parent", Reason.WORKSPACE_SOURCE_INVALID),
        (Path("/proc/x"), Reason.WORKSPACE_SOURCE_INVALID),
        (Path("relative"), Reason.WORKSPACE_SOURCE_INVALID),
    ):
        assert refused(spaces, TreeSource(origin.id, origin.head, place)).reason is reason, place
    assert sorted(os.listdir(room)) == before
    assert len(spaces.list_workspaces()) == 1


def test_trees_and_workspaces_that_are_not_there(spaces: Workspaces, origin: Workspace, room: Path) -> None:
    nowhere = TreeSource("ws-00000000000000000000000000", origin.head, room / "out")
    assert refused(spaces, nowhere).reason is Reason.WORKSPACE_NOT_FOUND
    other = TreeSource(origin.id, "sha256:" + "1" * 64, room / "out")
    assert refused(spaces, other).reason is Reason.TREE_NOT_FOUND
    assert not (room / "out").exists()


def test_a_disk_that_is_full_leaves_nothing(
    open_spaces: Callable[..., Workspaces], live: Path, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spaces = open_spaces(limits=Limits())
    write_tree(live, OLD)
    origin = spaces.create(DirectorySource(live))
    plain = os.write

    def full(fd: int, data: Any) -> int:
        if "/out" in os.readlink(f"/proc/self/fd/{fd}") or "/.interlock-" in os.readlink(
            f"/proc/self/fd/{fd}"
        ):
            raise OSError(28, "No space left on device")
        return plain(fd, data)

    (room / "out").mkdir()
    monkeypatch.setattr(os, "write", full)
    error = refused(spaces, TreeSource(origin.id, origin.head, room / "out"))
    monkeypatch.undo()
    assert error.reason is Reason.STORE_FULL
    assert sorted(os.listdir(room)) == ["executor", "live", "out"]
    assert spaces.create(TreeSource(origin.id, origin.head, room / "out")).head == origin.head


def test_killed_anywhere_it_is_there_whole_or_not_at_all_and_repeating_it_makes_one(
    room: Path, program: Any
) -> None:
    scene = Scene(room, program)
    out = room / "state" / "out"
    ask = {"workspace": scene.ids["workspace"], "tree": scene.ids["base"], "out": str(out), "name": NAME}
    kills = 0
    while True:
        scene.restore()
        if program.run("branch", f"*:{kills + 1}", **ask) is not None:
            break
        kills += 1
        assert not out.exists() or read_tree(out) == OLD
        found = program.run("recover")
        done = found["heads"].get(NAME)
        assert done in (None, scene.ids["base"])
        assert out.exists() == (done is not None)
        assert [name for name in os.listdir(room / "state") if name.startswith(".interlock")] == []
        assert program.run("branch", **ask) == {"head": scene.ids["base"], "drift": False}
        assert read_tree(out) == OLD
        assert len(program.run("recover")["heads"]) == 2
    assert read_tree(out) == OLD
    assert kills == KILLS


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees())
def test_any_tree(spaces: Workspaces, room: Path, tree: Tree) -> None:
    directory = room / f"t{len(os.listdir(room))}"
    directory.mkdir()
    write_tree(directory, tree)
    origin = spaces.create(DirectorySource(directory))
    made = spaces.create(TreeSource(origin.id, origin.head, directory.with_name(directory.name + "-fork")))
    assert read_tree(made.live) == tree
    again = spaces.create(TreeSource(made.id, made.head))
    assert (again.head, spaces.look_for_drift(again.id)) == (origin.head, None)
