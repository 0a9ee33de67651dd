"""What a caller names as a workspace's place is theirs: nothing in it is ever removed, whatever fails or is killed."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.executor.workspaces.test_kill_matrix import OLD, Scene
from tests.support.trees import Tree, read_tree, write_tree

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files import failpoints
from interlock.executor.workspaces import ArchiveSource, DirectorySource, TreeSource, Workspace, Workspaces

NAME = "ws-01jd9x5m7qv4s2k8t6w3y1z0ab"
NOTES: Tree = {b"notes": ("f", 0o644, b"years of work\n")}
UNPACKED: Tree = {**OLD, b"closed": ("d", 0o755)}
"""Unpacking lets the owner write to every directory."""
WRITTEN = {"branch": OLD, "unpack": UNPACKED, "fork": OLD, "import": UNPACKED}
Make = Callable[[Path], Workspace]


@pytest.fixture
def origin(spaces: Workspaces, live: Path) -> Workspace:
    write_tree(live, OLD)
    return spaces.create(DirectorySource(live))


@pytest.fixture(params=["fork", "import"])
def make(request: pytest.FixtureRequest, spaces: Workspaces, origin: Workspace, archive: Path) -> Make:
    """A workspace at a place, made of a tree or of an archive."""
    if request.param == "fork":
        return lambda out: spaces.create(TreeSource(origin.id, origin.head, out))
    return lambda out: spaces.create(ArchiveSource(archive, destination=out))


@pytest.fixture
def archive(room: Path) -> Path:
    source = room / "packed"
    source.mkdir()
    write_tree(source, OLD)
    (room / "keep").mkdir()
    with tarfile.open(room / "keep" / "x.tar", "w") as tar:
        for path in sorted(source.iterdir()):
            tar.add(path, path.name)
    (room / "keep").chmod(0o755)
    return room / "keep" / "x.tar"


@pytest.fixture
def at() -> Iterator[Callable[..., list[str]]]:
    """`at(do, *points)` does something when one of the points is passed for the first time."""

    def arm(do: Callable[[], None], *points: str) -> list[str]:
        passed: list[str] = []

        def act(name: str) -> None:
            if name in points and not passed:
                passed.append(name)
                do()

        failpoints.action = act
        return passed

    yield arm
    failpoints.action = None


def save(out: Path) -> None:
    out.mkdir(exist_ok=True)
    (out / "notes").write_bytes(NOTES[b"notes"][2])
    (out / "notes").chmod(0o644)


def left_over(directory: Path) -> list[str]:
    return [name for name in os.listdir(directory) if name.startswith(".interlock")]


@pytest.mark.parametrize("there", ["absent", "empty"])
@pytest.mark.parametrize("point", ["fork.staging", "fork.written", "fork.entered"])
def test_what_is_saved_in_the_directory_while_a_fork_is_written_stays(
    spaces: Workspaces, origin: Workspace, room: Path, at: Any, there: str, point: str
) -> None:
    out = room / "out"
    if there == "empty":
        out.mkdir()
    passed = at(lambda: save(out), point)
    with pytest.raises(InterlockError) as caught:
        spaces.create(TreeSource(origin.id, origin.head, out))
    assert caught.value.reason is Reason.WORKSPACE_SOURCE_INVALID
    assert passed == [point]
    assert read_tree(out) == NOTES
    assert left_over(room) == []
    assert [known.id for known in spaces.list_workspaces()] == [origin.id]
    assert spaces.create(TreeSource(origin.id, origin.head, room / "other")).head == origin.head


@pytest.mark.parametrize("point", ["import.fetched", "import.scanned", "import.checked-out"])
def test_what_is_saved_at_the_place_while_an_archive_is_unpacked_stays(
    spaces: Workspaces, archive: Path, room: Path, at: Any, point: str
) -> None:
    out = room / "out"
    passed = at(lambda: save(out), point)
    with pytest.raises(InterlockError) as caught:
        spaces.create(ArchiveSource(archive, destination=out))
    assert caught.value.reason is Reason.WORKSPACE_SOURCE_INVALID
    assert passed == [point]
    assert read_tree(out) == NOTES
    assert left_over(room) == []
    assert spaces.list_workspaces() == []


def test_an_empty_directory_that_came_meanwhile_is_not_taken_by_an_import(
    spaces: Workspaces, archive: Path, room: Path, at: Any
) -> None:
    at((room / "out").mkdir, "import.fetched")
    with pytest.raises(InterlockError) as caught:
        spaces.create(ArchiveSource(archive, destination=room / "out"))
    assert caught.value.reason is Reason.WORKSPACE_SOURCE_INVALID
    assert os.listdir(room / "out") == []


@pytest.mark.parametrize("make", ["fork", "import"], indirect=True)
def test_what_fails_once_it_is_there_leaves_it_there_and_says_so(
    spaces: Workspaces, origin: Workspace, make: Make, room: Path, at: Any
) -> None:
    out = room / "out"

    def fail() -> None:
        save(out)
        raise OSError(28, "No space left on device")

    passed = at(fail, "fork.placed", "import.placed")
    with pytest.raises(InterlockError) as caught:
        make(out)
    assert len(passed) == 1
    assert caught.value.reason is Reason.STORE_FULL
    assert "stays" in caught.value.message
    assert str(out) in caught.value.message
    assert read_tree(out) == {**WRITTEN[passed[0].partition(".")[0]], **NOTES}
    assert left_over(room) == []
    assert [known.id for known in spaces.list_workspaces()] == [origin.id]
    assert sorted(os.listdir(spaces._layout.workspaces)) == [origin.id]
    assert spaces.create(DirectorySource(out)).live == out, "nothing of the failed one is in the way"


def test_one_of_the_executors_own_that_fails_leaves_nothing(
    spaces: Workspaces, origin: Workspace, at: Any
) -> None:
    def fail() -> None:
        raise OSError(28, "No space left on device")

    at(fail, "fork.placed")
    with pytest.raises(InterlockError) as caught:
        spaces.create(TreeSource(origin.id, origin.head))
    assert caught.value.reason is Reason.STORE_FULL
    assert os.listdir(spaces._layout.live) == []


@pytest.mark.parametrize("do", ["branch", "unpack"])
@pytest.mark.parametrize("there", ["absent", "empty"])
def test_killed_anywhere_what_somebody_saves_before_the_next_start_stays(
    room: Path, program: Any, archive: Path, do: str, there: str
) -> None:
    if (do, there) == ("unpack", "empty"):
        pytest.skip("an archive is unpacked to a place where nothing is")
    scene = Scene(room, program)
    out = room / "state" / "out"
    if there == "empty":
        out.mkdir()
        program.give(out)
        scene.save()
    ask = {"workspace": scene.ids["workspace"], "tree": scene.ids["base"], "archive": str(archive)}
    ask |= {"out": str(out), "name": NAME}
    kills, finished = 0, 0
    while True:
        scene.restore()
        if program.run(do, f"*:{kills + 1}", **ask) is not None:
            break
        kills += 1
        placed = out.exists() and read_tree(out) == WRITTEN[do]
        assert placed or not out.exists() or os.listdir(out) == []
        save(out)
        program.give(out)
        found = program.run("recover")
        assert read_tree(out) == ({**WRITTEN[do], **NOTES} if placed else NOTES)
        assert left_over(room / "state") == []
        assert (NAME in found["heads"]) == placed
        assert (NAME in found["removed"]) == (not placed)
        if placed:
            finished += 1
            assert do == "unpack" or found["heads"][NAME] == scene.ids["base"]
            drift = program.run("fork", workspace=NAME)["drift"]
            assert drift == [["notes", "added"]]
        else:
            assert program.run(do, **ask)["error"] == Reason.WORKSPACE_SOURCE_INVALID.value
            assert read_tree(out) == NOTES
    assert kills >= 6
    assert finished == 2, "at the point where it is placed, and at the one where it is done"


@pytest.mark.parametrize("do", ["branch", "unpack"])
def test_another_directory_in_the_place_of_the_one_that_was_placed_is_left_alone(
    room: Path, program: Any, archive: Path, do: str
) -> None:
    scene = Scene(room, program)
    out = room / "state" / "out"
    ask = {"workspace": scene.ids["workspace"], "tree": scene.ids["base"], "archive": str(archive)}
    point = "fork.placed" if do == "branch" else "import.placed"
    assert program.run(do, point, **ask, out=str(out), name=NAME) is None
    out.rename(room / "state" / "moved")
    save(out)
    program.give(out)
    found = program.run("recover")
    assert found["removed"] == [NAME]
    assert read_tree(out) == NOTES
    assert read_tree(room / "state" / "moved") == WRITTEN[do]


def test_an_import_killed_anywhere_is_there_whole_or_not_at_all_and_repeating_it_makes_one(
    room: Path, program: Any, archive: Path
) -> None:
    scene = Scene(room, program)
    out = room / "state" / "out"
    ask = {"archive": str(archive), "out": str(out), "name": NAME}
    kills, heads = 0, set()
    while True:
        scene.restore()
        if program.run("unpack", f"*:{kills + 1}", **ask) is not None:
            break
        kills += 1
        assert not out.exists() or read_tree(out) == UNPACKED
        found = program.run("recover")
        assert out.exists() == (NAME in found["heads"])
        assert left_over(room / "state") == []
        heads.add(program.run("unpack", **ask)["head"])
        assert program.run("unpack", **ask)["drift"] is False
        assert read_tree(out) == UNPACKED
    assert kills >= 6
    assert len(heads) == 1


def test_a_tree_that_never_was_a_head_is_not_forked(
    spaces: Workspaces, origin: Workspace, room: Path
) -> None:
    """The preview of an effect nobody has approved yet is in the store as well."""
    waiting = spaces.edit(origin.id, origin.head, "later", b"x")
    with pytest.raises(InterlockError) as caught:
        spaces.create(TreeSource(origin.id, waiting.result_tree, room / "out"))
    assert (caught.value.reason, caught.value.field) == (Reason.TREE_NOT_FOUND, "source.tree.tree")
    assert not (room / "out").exists()
    spaces.publish(origin.id, waiting.base_tree, waiting.result_tree)
    assert spaces.create(TreeSource(origin.id, waiting.result_tree, room / "out")).head == waiting.result_tree
    assert spaces.create(TreeSource(origin.id, origin.head)).head == origin.head, "the one before it was, too"
