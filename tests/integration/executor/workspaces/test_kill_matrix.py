"""SIGKILL at every point of every move: afterwards it is the old tree or the new one, and redoing ends it."""

from __future__ import annotations

import shutil
import subprocess
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.support.escrow_model import tree_id
from tests.support.trees import Tree, mutate, read_tree, write_tree

OLD: Tree = {
    b"keep": ("f", 0o644, b"keep\n"),
    b"edit": ("f", 0o644, b"before\n"),
    b"gone": ("f", 0o600, b"gone\n"),
    b"mode": ("f", 0o644, b"mode\n"),
    b"link": ("l", b"keep"),
    b"dir": ("d", 0o755),
    b"dir/deep": ("d", 0o700),
    b"dir/deep/file": ("f", 0o644, b"deep\n"),
    b"tofile": ("d", 0o755),
    b"tofile/x": ("f", 0o644, b"x"),
    b"todir": ("f", 0o644, b"y"),
    b"closed": ("d", 0o555),
    b"closed/in": ("f", 0o444, b"in\n"),
}
CHANGES = [
    ("write", b"edit", b"after\n"),
    ("write", b"added", b"added\n"),
    ("remove", b"gone", None),
    ("chmod", b"mode", 0o755),
    ("remove", b"link", None),
    ("link", b"link", b"../elsewhere"),
    ("remove", b"dir/deep", None),
    ("remove", b"tofile", None),
    ("write", b"tofile", b"now a file"),
    ("remove", b"todir", None),
    ("mkdir", b"todir/a/b", None),
    ("write", b"todir/a/b/c", b"c"),
    ("chmod", b"closed", 0o755),
    ("write", b"closed/new", b"new\n"),
    ("remove", b"closed/in", None),
    ("chmod", b"closed", 0o555),
]


class Scene:
    """A prepared publication that can be set up again and again."""

    def __init__(self, room: Path, program: Any) -> None:
        self.room, self.program = room, program
        self.live = room / "state" / "live"
        self.live.mkdir()
        write_tree(self.live, OLD)
        program.give(room / "state")
        self.ids = program.run("prepare", live=str(self.live), program=repr(CHANGES))
        expected = room / "expected"
        expected.mkdir()
        write_tree(expected, OLD)
        mutate(bytes(expected), CHANGES)
        self.new = read_tree(expected)
        assert self.new != OLD
        self.save()

    @property
    def base(self) -> Path:
        return self.room / "state" / "executor" / "workspaces" / self.ids["workspace"] / "base"

    def save(self) -> None:
        shutil.rmtree(self.room / "saved", ignore_errors=True)
        subprocess.run(["cp", "-a", self.room / "state", self.room / "saved"], check=True)

    def restore(self) -> None:
        subprocess.run(["rm", "-rf", self.room / "state"], check=True)
        subprocess.run(["cp", "-a", self.room / "saved", self.room / "state"], check=True)

    def both(self, tree: Tree) -> None:
        assert read_tree(self.live) == tree
        assert read_tree(self.base) == tree


@pytest.mark.parametrize("look", ["everything", "affected"])
def test_a_publication_killed_anywhere_is_done_whole_or_not_at_all(
    room: Path, program: Any, look: str, stride: int
) -> None:
    scene = Scene(room, program)
    old, new = scene.ids["base"], scene.ids["result"]
    for kill in count(1, stride):
        scene.restore()
        if program.run("publish", f"*:{kill}", look=look, **scene.ids) is not None:
            break
        found = program.run("recover")
        head = found["heads"][scene.ids["workspace"]]
        assert found["kept"] == []
        assert found["failed"] == []
        scene.both(scene.new if head == new else OLD)
        # A kill after the record was written ends in the new tree: nobody has to ask again.
        assert head == new if kill > 1 else head in (old, new)
        again = program.run("publish", look=look, **scene.ids)
        assert again["head"] == new
        scene.both(scene.new)
    scene.both(scene.new)
    assert kill > 40


def test_a_recovery_killed_anywhere_is_taken_up_again(room: Path, program: Any, stride: int) -> None:
    scene = Scene(room, program)
    assert program.run("publish", "publish.live.entry:6", **scene.ids) is None
    scene.save()
    for kill in count(1, stride):
        scene.restore()
        if program.run("recover", f"*:{kill}") is not None:
            break
        found = program.run("recover")
        assert found["heads"] == {scene.ids["workspace"]: scene.ids["result"]}
        assert found["kept"] == []
        scene.both(scene.new)
    assert kill > 20


def test_a_rollback_killed_anywhere_is_done_whole_or_not_at_all(
    room: Path, program: Any, stride: int
) -> None:
    scene = Scene(room, program)
    program.run("publish", **scene.ids)
    scene.save()
    ask = {"workspace": scene.ids["workspace"], "tree": scene.ids["base"]}
    for kill in count(1, stride):
        scene.restore()
        if program.run("rollback", f"*:{kill}", **ask) is not None:
            break
        found = program.run("recover")
        head = found["heads"][scene.ids["workspace"]]
        scene.both(OLD if head == scene.ids["base"] else scene.new)
        assert program.run("rollback", **ask)["head"] == scene.ids["base"]
        scene.both(OLD)
    scene.both(OLD)
    assert kill > 40


def test_a_revert_killed_anywhere_is_done_whole_or_not_at_all(room: Path, program: Any, stride: int) -> None:
    """With an edit of the user's beside it, which becomes the head first, and stays whenever the kill comes."""
    scene = Scene(room, program)
    program.run("publish", **scene.ids)
    (scene.live / "mine").write_bytes(b"mine\n")
    program.give(scene.live / "mine")
    scene.save()
    mine = {b"mine": ("f", 0o644, b"mine\n")}
    known = [scene.ids["result"], tree_id({**scene.new, **mine}), tree_id({**OLD, **mine})]
    reached: list[int] = []
    for kill in count(1, stride):
        scene.restore()
        if program.run("revert", f"*:{kill}", **scene.ids) is not None:
            break
        found = program.run("recover")
        reached.append(known.index(found["heads"][scene.ids["workspace"]]))
        reverted = reached[-1] == 2
        assert read_tree(scene.live) == {**(OLD if reverted else scene.new), **mine}
        assert program.run("revert", **scene.ids)["how"] == ("already" if reverted else "merged")
        scene.both({**OLD, **mine})
    scene.both({**OLD, **mine})
    assert reached == sorted(reached), "a later kill ends no further back"
    assert {1, 2} <= set(reached)
    assert kill > 40


def test_an_import_killed_anywhere_leaves_nothing_and_can_be_repeated(room: Path, program: Any) -> None:
    live = room / "state" / "live"
    live.mkdir()
    write_tree(live, OLD)
    program.give(room / "state")
    for point in ("import.scanned", "import.checked-out", "import.done"):
        killed = program.run("create", point, live=str(live))
        assert killed is None
        found = program.run("recover")
        if point == "import.done":
            assert len(found["heads"]) == 1
            break
        assert found["heads"] == {}
        assert len(found["removed"]) == 1
        assert list((program.root / "workspaces").iterdir()) == []
    assert read_tree(live) == OLD


def test_adopting_drift_killed_anywhere_leaves_the_live_directory_alone(
    room: Path, program: Any, stride: int
) -> None:
    scene = Scene(room, program)
    mutate(bytes(scene.live), CHANGES)
    program.give(scene.live)
    scene.save()
    for kill in count(1, stride):
        scene.restore()
        if program.run("fork", f"*:{kill}", workspace=scene.ids["workspace"]) is not None:
            break
        assert read_tree(scene.live) == scene.new
        program.run("fork", workspace=scene.ids["workspace"])
        scene.both(scene.new)
    assert kill > 15


def test_what_somebody_edits_between_the_kill_and_the_recovery_is_kept(room: Path, program: Any) -> None:
    scene = Scene(room, program)
    assert program.run("publish", "publish.live.staged:1", **scene.ids) is None
    (scene.live / "edit").write_bytes(b"mine\n")
    found = program.run("recover")
    assert found["kept"] == ["edit"]
    assert read_tree(scene.live) == {**scene.new, b"edit": ("f", 0o644, b"mine\n")}
    assert read_tree(scene.base) == scene.new
    assert program.run("fork", workspace=scene.ids["workspace"])["drift"] == [["edit", "modified"]]
    assert (scene.base / "edit").read_bytes() == b"mine\n"
