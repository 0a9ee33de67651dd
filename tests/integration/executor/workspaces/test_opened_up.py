"""A directory that a publication has to open up to write in it has the mode again that it was found with."""

from __future__ import annotations

import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.trees import write_tree


class Scene:
    """An effect on files in `d` and `d/e`, which the tree has as 0755, and their owner has closed since."""

    def __init__(self, room: Path, program: Any, found: int) -> None:
        self.room, self.program, self.found = room, program, found
        self.live = room / "state" / "live"
        self.live.mkdir()
        write_tree(
            self.live,
            {
                b"d": ("d", 0o755),
                b"d/a": ("f", 0o644, b"a"),
                b"d/gone": ("f", 0o644, b"g"),
                b"d/e": ("d", 0o755),
                b"d/e/b": ("f", 0o644, b"b"),
            },
        )
        program.give(room / "state")
        changes = [("write", b"d/a", b"new"), ("remove", b"d/gone", None), ("write", b"d/e/b", b"new")]
        self.ids = program.run("prepare", live=str(self.live), program=repr(changes))
        (self.live / "d/e").chmod(found)
        (self.live / "d").chmod(found)
        subprocess.run(["cp", "-a", room / "state", room / "saved"], check=True)

    def restore(self) -> None:
        shutil.rmtree(self.room / "state")
        subprocess.run(["cp", "-a", self.room / "saved", self.room / "state"], check=True)

    def publish(self, failpoint: str = "") -> Any:
        return self.program.run("publish", failpoint, look="affected", **self.ids)

    @property
    def modes(self) -> tuple[int, int]:
        return (
            stat.S_IMODE((self.live / "d").stat().st_mode),
            stat.S_IMODE((self.live / "d/e").stat().st_mode),
        )


@pytest.fixture
def scene(room: Path, program: Any) -> Callable[[int], Scene]:
    return lambda found: Scene(room, program, found)


@pytest.mark.parametrize("found", [0o555, 0o500, 0o750, 0o1575])
def test_a_publication_leaves_the_mode_that_it_found(scene: Callable[[int], Scene], found: int) -> None:
    made = scene(found)
    assert made.publish()["how"] == "published"
    assert (made.live / "d/e/b").read_bytes() == (made.live / "d/a").read_bytes() == b"new"
    assert made.modes == (found, found)


@pytest.mark.parametrize("found", [0o555, 0o710])
def test_a_publication_killed_anywhere_leaves_the_mode_that_it_found(
    scene: Callable[[int], Scene], found: int
) -> None:
    made, kills = scene(found), 0
    while made.publish(f"*:{kills + 1}") is None:
        kills += 1
        recovered = made.program.run("recover")
        assert (recovered["failed"], recovered["kept"]) == ([], [])
        assert made.modes == (found, found), kills
        if recovered["heads"][made.ids["workspace"]] == made.ids["result"]:
            assert (made.live / "d/e/b").read_bytes() == b"new"
        made.restore()
    assert made.modes == (found, found)
    assert kills > 10


def test_a_publication_that_is_taken_back_killed_anywhere_leaves_the_mode_that_it_found(
    scene: Callable[[int], Scene],
) -> None:
    made, kills = scene(0o555), 0
    while made.program.run("blocked", f"*:{kills + 1}", at=2, look="affected", **made.ids) is None:
        kills += 1
        assert made.program.run("recover")["failed"] == []
        assert made.modes == (0o555, 0o555), kills
        made.restore()
    assert made.modes == (0o555, 0o555)
    assert kills > 10


def test_a_mode_that_somebody_gives_it_before_it_is_finished_stays(scene: Callable[[int], Scene]) -> None:
    made = scene(0o555)
    assert made.publish("publish.live.entry:2") is None
    (made.live / "d").chmod(0o711)
    (made.live / "d/e").chmod(0o711)
    assert made.program.run("recover")["failed"] == []
    assert made.modes == (0o711, 0o711)
    assert (made.live / "d/e/b").read_bytes() == b"new"
