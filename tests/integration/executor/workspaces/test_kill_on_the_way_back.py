"""SIGKILL at every point of a move that cannot go on and is taken back: it is the old tree or the new one."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.integration.executor.workspaces.test_kill_matrix import OLD, Scene


@pytest.mark.parametrize("at", [1, 6, 14])
def test_a_publication_that_is_taken_back_killed_anywhere_is_whole(
    room: Path, program: Any, at: int, stride: int
) -> None:
    scene = Scene(room, program)
    old, new = scene.ids["base"], scene.ids["result"]
    turned = False
    for kill in count(1, stride):
        scene.restore()
        answer = program.run("blocked", f"*:{kill}", at=at, **scene.ids)
        if answer is not None:
            break
        found = program.run("recover")
        assert (found["kept"], found["failed"]) == ([], [])
        head = found["heads"][scene.ids["workspace"]]
        scene.both(scene.new if head == new else OLD)
        turned = turned or (head == old and kill > 1)
        assert not turned or head == old, "from where it turned, it goes back"
        assert program.run("publish", **scene.ids)["head"] == new
        scene.both(scene.new)
    assert answer["error"] == "EFFECT_NOT_PUBLISHABLE"
    assert turned
    scene.both(OLD)
    assert kill > 40


def test_a_way_back_that_is_killed_again_and_again_ends(room: Path, program: Any, stride: int) -> None:
    scene = Scene(room, program)
    for point in ("publish.turned", "publish.back.base.entry:3", "publish.back.live.entry:5"):
        assert program.run("blocked", point, at=9, **scene.ids) is None
        scene.save()
        for kill in count(1, stride):
            scene.restore()
            if program.run("recover", f"*:{kill}") is not None:
                break
            found = program.run("recover")
            assert found["heads"] == {scene.ids["workspace"]: scene.ids["base"]}
            assert (found["kept"], found["failed"]) == ([], [])
            scene.both(OLD)
        assert kill > 10
        scene.both(OLD)
