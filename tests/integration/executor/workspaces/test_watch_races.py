"""What others do between the steps of a reading, with the queue emptied in the same gap: the next one shows it all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.outside_changes import NAMES, OPERATIONS, Outside

from interlock.executor.files.root import Root
from interlock.executor.snapshots.model import Limits
from interlock.executor.snapshots.scan import Scanned, StatCache, scan
from interlock.executor.snapshots.store import Store
from interlock.executor.workspaces.reading import Reader
from interlock.executor.workspaces.watch import Watch
from interlock.executor.workspaces.watches import Watches

Gap = Callable[[bytes], None]
Step = tuple[str, str, str, str]
Program = list[tuple[list[Step], list[list[Step]]]]
"""Rounds: what is done before a reading, and in its gaps, one after the other."""

PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
STEPS = st.tuples(
    st.sampled_from(sorted(OPERATIONS)), PATHS, PATHS, st.integers(min_value=0, max_value=5).map("x".__mul__)
)
BETWEEN = st.lists(STEPS, max_size=6)
PROGRAMS = st.lists(
    st.tuples(BETWEEN, st.lists(st.lists(STEPS, max_size=2), max_size=12)), min_size=1, max_size=6
)


class Scene:
    """A watched directory; `gap` is called with a path before it is entered, after, and before it is compared."""

    def __init__(self, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.outside = Outside(room)
        self.live = self.outside.inside
        self.store, self.watches, self.cache = Store(room / "store"), Watches(), StatCache()
        self.reader = Reader(self.store, Limits(), self.watches)
        self.gap: Gap | None = None
        enter, knows = Watch.enter, Watch.knows

        def slow_enter(watch: Watch, path: bytes, fd: int) -> None:
            self.pause(watch, path)
            enter(watch, path, fd)
            self.pause(watch, path)

        def slow_knows(watch: Watch, path: bytes, status: os.stat_result) -> bool:
            self.pause(watch, path)
            return knows(watch, path, status)

        monkeypatch.setattr(Watch, "enter", slow_enter)
        monkeypatch.setattr(Watch, "knows", slow_knows)

    def pause(self, watch: Watch, path: bytes) -> None:
        if self.gap is not None:
            self.gap(path)
            watch.collect()  # as the thread does that empties the queues

    def close(self) -> None:
        self.outside.release()
        self.watches.close()
        self.store.close()

    def read(self, gap: Gap | None = None) -> Scanned:
        self.gap = gap
        try:
            with Root.open(self.live) as live:
                return self.reader.read("ws", self.live, live, self.cache)
        finally:
            self.gap = None

    def agrees(self) -> None:
        told = self.read()
        with Root.open(self.live) as live:
            real = scan(live, self.store.batch(), StatCache(), Limits())
        assert (told.snapshot, told.totals, told.skipped) == (real.snapshot, real.totals, real.skipped)
        directories = 1 + sum(len(inner) for _, inner, _ in os.walk(self.live))
        links = sum(each.is_dir() and each.is_symlink() for each in self.live.rglob("*"))
        assert self.watches.watched().get("ws") in (None, directories - links), "none is left from what went"


@contextmanager
def scene() -> Iterator[Scene]:
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where) as room, pytest.MonkeyPatch.context() as patch:
        made = Scene(Path(room), patch)
        try:
            yield made
        finally:
            made.close()


def fill(path: Path, text: str) -> None:
    (path / "s").mkdir(parents=True)
    (path / "f").write_text(text)
    (path / "s" / "g").write_text(text)


def replaced(live: Path) -> None:
    (live / "n").rename(live / "m")
    fill(live / "n", "new")


def removed_and_made(live: Path) -> None:
    for each in ("n/s/g", "n/f"):
        (live / each).unlink()
    (live / "n" / "s").rmdir()
    (live / "n").rmdir()
    fill(live / "n", "new")


def exchanged(live: Path) -> None:
    fill(live.parent / "out" / "o", "other")
    (live / "n").rename(live / "m")
    (live.parent / "out" / "o").rename(live / "n")


def inner_replaced(live: Path) -> None:
    (live / "n" / "s").rename(live / "n" / "t")
    (live / "n" / "s").mkdir()
    (live / "n" / "s" / "g").write_text("new")


def put_back(live: Path) -> None:
    (live / "n").rename(live / "o")
    (live / "m").rename(live / "n")


def moved_out(live: Path) -> None:
    (live / "n").rename(live.parent / "out" / "n")


@pytest.mark.parametrize("where", [b"n", b"n/s"])
@pytest.mark.parametrize("change", [replaced, removed_and_made, exchanged, inner_replaced, moved_out])
def test_a_directory_replaced_as_it_is_entered_is_read_again(
    change: Callable[[Path], None], where: bytes
) -> None:
    with scene() as here:
        here.agrees()
        fill(here.live / "n", "old")
        left = [change]

        def gap(path: bytes) -> None:
            if path == where and left:
                left.pop()(here.live)

        here.read(gap)
        assert not left
        here.agrees()
        for each in here.live.glob("n/**/g"):
            each.write_text("changed after that")
        here.agrees()


def test_a_directory_replaced_and_put_back_is_read_again() -> None:
    """What is below it may have been opened in the other one."""
    with scene() as here:
        here.agrees()
        fill(here.live / "n", "old")
        turns = iter([replaced, put_back])

        def gap(path: bytes) -> None:
            if path.startswith(b"n") and (turn := next(turns, None)) is not None:
                turn(here.live)

        here.read(gap)
        here.agrees()
        (here.live / "n" / "s" / "g").write_text("changed after that")
        here.agrees()


def check(program: Program) -> None:
    with scene() as here:
        for directory in ("d1", "d2", "d1/d2"):
            here.outside.do("mkdir", directory, "a", "")
            here.outside.do("write", f"{directory}/a", "a", "one")
        here.agrees()
        for before, during in program:
            for step in before:
                here.outside.do(*step)
            gaps = iter(during)

            def gap(path: bytes, gaps: Iterator[list[Step]] = gaps) -> None:
                for step in next(gaps, []):
                    here.outside.do(*step)

            here.read(gap)
            here.agrees()


@given(PROGRAMS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_next_reading_shows_what_was_done_during_one(program: Program) -> None:
    check(program)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@given(PROGRAMS)
@settings(settings.get_profile("torture"))
def test_it_does_for_many_programs(program: Program) -> None:
    check(program)
