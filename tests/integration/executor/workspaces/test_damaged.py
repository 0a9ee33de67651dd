"""Objects of the store that are damaged or gone when a move that was killed is done again.

The move is finished, or taken back, or the workspace is quarantined, and says which object it was. Nothing else of the
executor is concerned.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.executor.workspaces.test_kill_matrix import OLD, Scene
from tests.support.trees import read_tree, write_tree

from interlock.common.digests import digest_bytes, digest_text
from interlock.executor.snapshots.encoding import decode_directory
from interlock.executor.snapshots.lookup import plain
from interlock.executor.snapshots.model import DIRECTORY, FILE


class Damage(Scene):
    """A prepared publication, another workspace beside it, and a store that can be damaged."""

    def __init__(self, room: Path, program: Any) -> None:
        super().__init__(room, program)
        self.other = room / "state" / "other"
        self.other.mkdir()
        write_tree(self.other, {b"x": ("f", 0o644, b"x")})
        program.give(self.other)
        self.beside = program.run("create", live=str(self.other))
        self.save()
        old, new = set(self.objects("base")), set(self.objects("result"))
        self.only_old, self.only_new = sorted(old - new), sorted(new - old)

    def objects(self, tree: str) -> Iterator[tuple[str, bytes]]:
        """Kind and id of every object of a tree."""
        with self.database() as db:
            known = {row[0]: row[1:] for row in db.execute("SELECT id, form, data FROM objects")}
        waiting = [digest_bytes(self.ids[tree])]
        while waiting:
            here = waiting.pop()
            yield DIRECTORY, here
            for entry in decode_directory(plain(here, *known[here])).values():
                if entry.kind == DIRECTORY:
                    waiting.append(entry.value)
                elif entry.kind == FILE:
                    yield FILE, entry.value

    def database(self) -> sqlite3.Connection:
        return sqlite3.connect(self.room / "state/executor/store/objects.db", isolation_level=None)

    def damage(self, object_id: bytes, *, gone: bool) -> None:
        statement = (
            "DELETE FROM objects" if gone else "UPDATE objects SET form=0, data=CAST('damaged' AS BLOB)"
        )
        db = self.database()
        assert db.execute(f"{statement} WHERE id=?", (object_id,)).rowcount == 1
        db.close()

    def repair(self, object_id: bytes) -> None:
        """Put the object back as the backup has it."""
        backup = sqlite3.connect(self.room / "saved/executor/store/objects.db")
        row = backup.execute("SELECT * FROM objects WHERE id=?", (object_id,)).fetchone()
        backup.close()
        db = self.database()
        db.execute("INSERT OR REPLACE INTO objects VALUES(?,?,?,?,?)", row)
        db.close()

    def recover(self) -> str:
        """What became of the move: `old`, `new` or `quarantined`; whole in both directories, or not touched."""
        found = self.program.run("recover")
        assert read_tree(self.other) == {b"x": ("f", 0o644, b"x")}
        looked = self.program.run("fork", workspace=self.beside["workspace"])
        assert "error" not in looked, "another workspace is used as ever"
        if found["failed"]:
            assert [name for name, _ in found["failed"]] == [self.ids["workspace"]]
            return "quarantined"
        head = found["heads"][self.ids["workspace"]]
        self.both(self.new if head == self.ids["result"] else OLD)
        return "new" if head == self.ids["result"] else "old"


FORWARD = ["publish.recorded", "publish.base.staged:4", "publish.base.entry:4", "publish.live.entry:5"]
BACK = ["publish.turned", "publish.back.live.entry:4", "publish.back.base.entry:4"]


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("point", FORWARD)
def test_a_move_that_lacks_what_it_goes_to_is_whole_or_taken_back(
    room: Path, program: Any, point: str, gone: bool, stride: int
) -> None:
    scene = Damage(room, program)
    ends = {}
    for kind, lost in scene.only_new[::stride]:
        scene.restore()
        assert program.run("publish", point, **scene.ids) is None
        scene.damage(lost, gone=gone)
        ends[kind, lost] = scene.recover()
        if ends[kind, lost] == "old":
            again = program.run("publish", **scene.ids)
            assert again["error"] in ("EFFECT_TAMPERED", "TREE_NOT_FOUND"), "a move anew is refused whole"
            assert again["object"] == digest_text(lost)
            scene.both(OLD)
    assert len(ends) > 4 // stride
    if point == "publish.live.entry:5":
        assert set(ends.values()) == {"new"}, "the base has all of it"
    elif point == "publish.recorded":
        assert set(ends.values()) == {"old"}
    else:
        assert "quarantined" not in ends.values()


@pytest.mark.parametrize("point", FORWARD)
def test_a_move_that_lacks_what_it_comes_from_goes_on(
    room: Path, program: Any, point: str, stride: int
) -> None:
    scene = Damage(room, program)
    ends = {}
    for kind, lost in scene.only_old[::stride]:
        scene.restore()
        assert program.run("publish", point, **scene.ids) is None
        scene.damage(lost, gone=False)
        ends[kind, lost] = scene.recover()
    if point != "publish.live.entry:5":
        assert set(ends.values()) == {"new"}, "one of the directories has it still"
    assert {end for (kind, _), end in ends.items() if kind == FILE} == {"new"}, "it is not needed"


@pytest.mark.parametrize("point", BACK)
def test_a_way_back_that_lacks_something_is_whole_or_quarantined(
    room: Path, program: Any, point: str, stride: int
) -> None:
    scene = Damage(room, program)
    tried = (*scene.only_new, *scene.only_old)[::stride]
    ends = {}
    for lost in tried:
        scene.restore()
        assert program.run("blocked", point, at=9, **scene.ids) is None
        scene.damage(lost[1], gone=False)
        ends[lost] = scene.recover()
        if ends[lost] == "quarantined":
            scene.repair(lost[1])
            assert scene.recover() == "old", "with the object back, it is taken back"
    assert "new" not in ends.values()
    assert {ends[lost] for lost in tried if lost in scene.only_new} == {"old"}
    if point == "publish.turned":
        assert {ends[lost] for lost in tried if lost in scene.only_old and lost[0] == FILE} == {"old"}, (
            "what was displaced has it"
        )


def test_a_quarantine_is_told_by_every_use_and_ends_with_the_workspace(room: Path, program: Any) -> None:
    scene = Damage(room, program)
    lost = digest_bytes(scene.ids["base"])
    assert program.run("publish", "publish.live.entry:5", **scene.ids) is None
    scene.damage(lost, gone=False)
    half = read_tree(scene.live)
    assert scene.recover() == "quarantined"
    for do in ("publish", "fork"):
        told = program.run(do, **scene.ids)
        assert (told["error"], told["object"]) == ("WORKSPACE_QUARANTINED", digest_text(lost)), do
        assert told["directory"] == str(scene.live)
        assert digest_text(lost) in told["message"]
    assert read_tree(scene.live) == half
    program.run("remove", **scene.ids)
    assert read_tree(scene.live) == half
    shutil.rmtree(next(scene.live.glob(".interlock-*")))
    assert "error" not in program.run("create", live=str(scene.live))
