"""The scratch directory: what is discarded is gone at once and removed soon; what is made is an ordinary directory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.executor.files import kernel, scratch
from interlock.executor.files.root import Root
from interlock.executor.files.scratch import MOST_WAITING, Scratch


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "room").mkdir()
    return tmp_path / "scratch"


@pytest.fixture
def room(place: Path) -> Iterator[Root]:
    with Root.open(place.parent / "room") as root:
        yield root


@pytest.fixture
def kept(place: Path) -> Iterator[Scratch]:
    made = Scratch(place)
    yield made
    made.close()


def fill(directory: Path) -> None:
    (directory / "deep/er").mkdir(parents=True)
    (directory / "deep/er/file").write_text("x")
    (directory / "link").symlink_to("/etc")


class Gate:
    """Holds `remove_tree` until it is opened, and says when it was reached."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        self._remove = scratch.remove_tree
        monkeypatch.setattr(scratch, "remove_tree", self)

    def __call__(self, parent_fd: int, name: bytes) -> None:
        self.reached.set()
        assert self.open.wait(30)
        self._remove(parent_fd, name)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate(monkeypatch)
    yield made
    made.open.set()


def test_made_where_it_is_wanted(kept: Scratch, place: Path, room: Root) -> None:
    kept.make(room.fd, b"new")
    made = place.parent / "room/new"
    assert made.stat().st_mode & 0o7777 == 0o700
    assert os.listdir(place) == []
    with pytest.raises(FileExistsError):
        kept.make(room.fd, b"new")
    assert os.listdir(place) == []


def test_made_in_place_where_it_cannot_be_moved(
    kept: Scratch, place: Path, room: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another_mount(*_: object) -> None:
        raise OSError(18, "EXDEV")

    monkeypatch.setattr(kernel, "rename_new", another_mount)
    kept.make(room.fd, b"new")
    assert os.listdir(room.fd) == ["new"]
    assert os.listdir(place) == []


def test_discarded_is_gone_at_once_and_removed_later(
    kept: Scratch, place: Path, room: Root, gate: Gate
) -> None:
    fill(place.parent / "room/old")
    kept.discard(room.fd, b"old")
    assert os.listdir(room.fd) == []
    assert gate.reached.wait(30)
    assert len(os.listdir(place)) == 1
    gate.open.set()
    kept.drain()
    assert os.listdir(place) == []


def test_nothing_there_is_no_error(kept: Scratch, room: Root) -> None:
    kept.discard(room.fd, b"never was")
    kept.drain()


def test_removed_in_place_where_it_cannot_be_moved(kept: Scratch, place: Path, gate: Gate) -> None:
    gate.open.set()
    other = Path("/dev/shm") / f"interlock-scratch-{os.getpid()}"
    if os.stat("/dev/shm").st_dev == place.stat().st_dev:
        pytest.skip("/dev/shm is on the same file system")
    fill(other / "old")
    try:
        with Root.open(other) as elsewhere:
            kept.discard(elsewhere.fd, b"old")
            assert os.listdir(other) == []
    finally:
        other.rmdir()
    assert os.listdir(place) == []


def test_who_discards_too_much_waits(kept: Scratch, place: Path, room: Root, gate: Gate) -> None:
    names = [b"%d" % number for number in range(MOST_WAITING + 2)]
    for name in names:
        os.mkdir(name, dir_fd=room.fd)
    for name in names[:-1]:
        kept.discard(room.fd, name)
        assert gate.reached.wait(30)  # the first is under way, the others wait
    last = threading.Thread(target=kept.discard, args=(room.fd, names[-1]))
    last.start()
    last.join(0.05)
    assert last.is_alive()
    gate.open.set()
    last.join(30)
    assert not last.is_alive()
    kept.drain()
    assert os.listdir(place) == []


def test_what_an_earlier_process_left_is_removed(place: Path) -> None:
    fill(place / "old-1")
    (place / "new-1").mkdir()
    opened = Scratch(place)
    opened.drain()
    assert os.listdir(place) == []
    opened.close()
    opened.close()


def test_closed_in_the_middle_leaves_the_rest_to_the_next(place: Path, room: Root, gate: Gate) -> None:
    first = Scratch(place)
    for name in ("a", "b"):
        fill(place.parent / "room" / name)
        first.discard(room.fd, name.encode())
    assert gate.reached.wait(30)
    closing = threading.Thread(target=first.close)
    closing.start()
    while not first._closed:
        closing.join(0.001)
    gate.open.set()
    closing.join(30)
    assert len(os.listdir(place)) == 1
    second = Scratch(place)
    second.drain()
    second.close()
    assert os.listdir(place) == []


def test_what_cannot_be_removed_stops_nothing(
    kept: Scratch, place: Path, room: Root, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    remove, refused = scratch.remove_tree, []

    def once(parent_fd: int, name: bytes) -> None:
        if not refused:
            refused.append(name)
            raise PermissionError(1, "not permitted")
        remove(parent_fd, name)

    monkeypatch.setattr(scratch, "remove_tree", once)
    for name in ("a", "b"):
        fill(place.parent / "room" / name)
        kept.discard(room.fd, name.encode())
    kept.drain()
    assert [os.fsencode(name) for name in os.listdir(place)] == refused
    assert "not permitted" in caplog.text


def test_where_much_was_removed_directories_are_made_apart(
    kept: Scratch, room: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytes] = []
    monkeypatch.setattr(kept, "make", lambda fd, name: made.append(name))
    kept.make_some(room.fd, b"few")
    assert os.listdir(room.fd) == ["few"]
    monkeypatch.setattr(scratch, "_MANY", -1.0)
    kept.discard(room.fd, b"few")
    kept.drain()
    kept.make_some(room.fd, b"many")
    assert made == [b"many"]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a directory to another group")
def test_what_a_directory_hands_down_is_taken_over(kept: Scratch, place: Path, room: Root) -> None:
    os.chown(place.parent / "room", -1, 12345)
    os.chmod(place.parent / "room", 0o2755)
    kept.make(room.fd, b"new")
    (place.parent / "room/new/file").write_text("x")
    assert (place.parent / "room/new/file").stat().st_gid == 12345


def test_directories_are_made_where_nothing_was_removed_lately(
    kept: Scratch, place: Path, room: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(place.parent / "room/old")
    inode = (place.parent / "room/old/link").lstat().st_ino
    kept.discard(room.fd, b"old")
    kept.drain()
    crowded = scratch._place(inode)
    assert crowded in kept._crowded
    for places in ([crowded, crowded, crowded + 1], [crowded] * scratch._TRIES):
        left = iter(places)
        monkeypatch.setattr(scratch, "_place", lambda _, left=left: next(left))
        kept.make(room.fd, b"new")
        assert os.listdir(room.fd) == ["new"]
        assert list(left)[1:] == [], "it is made somewhere in the end"
        os.rmdir(b"new", dir_fd=room.fd)
    assert os.listdir(place) == []


def test_places_are_forgotten(kept: Scratch, room: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "_RECENT", -1.0)
    os.mkdir(b"old", dir_fd=room.fd)
    os.close(os.open(b"old/file", os.O_CREAT, dir_fd=room.fd))
    kept.discard(room.fd, b"old")
    kept.drain()
    assert kept._crowded
    kept.make(room.fd, b"new")
    assert not kept._crowded
