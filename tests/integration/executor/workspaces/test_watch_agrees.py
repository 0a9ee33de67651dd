"""A watched directory is read by what changed in it; the answer is always that of reading all of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import outside_changes
from tests.support.outside_changes import NAMES, OPERATIONS, Outside

from interlock.executor.files.root import Root
from interlock.executor.snapshots import filehash
from interlock.executor.snapshots.model import Limits, Totals
from interlock.executor.snapshots.scan import Scanned, StatCache, scan
from interlock.executor.snapshots.store import Store
from interlock.executor.workspaces.reading import Reader
from interlock.executor.workspaces.watches import Watches

PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
STEPS = st.tuples(
    st.sampled_from(sorted(OPERATIONS)), PATHS, PATHS, st.integers(min_value=0, max_value=5).map("x".__mul__)
)
PROGRAMS = st.lists(st.lists(STEPS, max_size=6), min_size=1, max_size=8)


class Scene:
    """One watched directory, and what is needed to read it either way."""

    def __init__(self, room: Path) -> None:
        self.outside = Outside(room)
        self.store = Store(room / "store")
        self.watches = Watches()
        self.reader = Reader(self.store, Limits(), self.watches)
        self.cache = StatCache()

    def close(self) -> None:
        self.outside.release()
        self.watches.close()
        self.store.close()

    def read(self) -> Scanned:
        with Root.open(self.outside.inside) as live:
            return self.reader.read("ws", self.outside.inside, live, self.cache)

    def read_all(self) -> Scanned:
        with Root.open(self.outside.inside) as live:
            return scan(live, self.store.batch(), StatCache(), Limits())

    def agrees(self) -> None:
        told, real = self.read(), self.read_all()
        assert told.snapshot.tree == real.snapshot.tree
        assert (told.snapshot, told.totals, told.skipped) == (real.snapshot, real.totals, real.skipped)


@contextmanager
def scene() -> Iterator[Scene]:
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where) as room:
        made = Scene(Path(room))
        try:
            yield made
        finally:
            made.close()


def check(program: list[list[tuple[str, str, str, str]]]) -> None:
    with scene() as here:
        for directory in ("d1", "d2", "d1/d2"):
            here.outside.do("mkdir", directory, "a", "")
            here.outside.do("write", f"{directory}/a", "a", "one")
        here.agrees()
        for steps in program:
            for step in steps:
                here.outside.do(*step)
            here.agrees()


@given(PROGRAMS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_reading_what_changed_gives_what_reading_everything_gives(
    program: list[list[tuple[str, str, str, str]]],
) -> None:
    check(program)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@given(PROGRAMS)
@settings(settings.get_profile("torture"))
def test_it_does_for_many_programs(program: list[list[tuple[str, str, str, str]]]) -> None:
    check(program)


@pytest.mark.parametrize("change", [b"one and more", b""], ids=["grows", "shrinks"])
def test_a_file_that_changes_while_it_is_read_counts_with_what_was_read(
    change: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scene() as here:
        path = here.outside.inside / "a"
        path.write_bytes(b"one")

        def late(fd: int, size: int) -> bytes:
            path.write_bytes(change)
            return os.read(fd, 100)

        with monkeypatch.context() as reading:
            reading.setattr(filehash, "_read_small", late)
            assert here.read().totals == Totals(1, len(change))
        here.agrees()
        path.unlink()
        here.agrees()


@pytest.mark.parametrize("seed", range(4))
def test_it_does_after_changes_made_while_it_was_read(seed: int) -> None:
    """Nobody waits for a reading to end: whatever it saw half of must show at the next one."""
    with scene() as here:
        here.agrees()
        for round_ in range(4):
            arguments = [str(here.outside.inside.parent), f"{seed}-{round_}", "400"]
            with subprocess.Popen([sys.executable, outside_changes.__file__, *arguments]) as changing:
                while changing.poll() is None:
                    here.read()
            assert changing.returncode == 0
            here.agrees()
