"""When a watched directory is read by what changed, when all of it is, and what only the latter finds."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.root import Root
from interlock.executor.snapshots.model import Limits
from interlock.executor.snapshots.scan import Scanned, StatCache
from interlock.executor.snapshots.store import Store
from interlock.executor.workspaces import DirectorySource, Workspaces, reading, watch, watches
from interlock.executor.workspaces.reading import Reader
from interlock.executor.workspaces.watchable import Mounts, is_local
from interlock.executor.workspaces.watches import Watches


class Room:
    """Directories that are read by one `Reader`; `complete` counts the readings of everything."""

    def __init__(self, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room, self.complete, self.now = room, 0, 0.0
        self.store = Store(room / "store")
        self.caches: dict[str, StatCache] = {}
        self.limits = Limits()
        self.use(Watches(monotonic=lambda: self.now))
        real = reading.scan

        def counted(*arguments: Any, **named: Any) -> Scanned:
            self.complete += 1
            return real(*arguments, **named)

        monkeypatch.setattr(reading, "scan", counted)

    def use(self, made: Watches) -> None:
        self.watches = made

    def live(self, name: str) -> Path:
        path = self.room / name
        (path / "d").mkdir(parents=True)
        (path / "d" / "f").write_text("one")
        return path

    def read(self, path: Path) -> tuple[Scanned, int]:
        """The directory as it is said to be, and how often everything was read for it."""
        before = self.complete
        with Root.open(path) as live:
            cache = self.caches.setdefault(path.name, StatCache())
            found = Reader(self.store, self.limits, self.watches).read(path.name, path, live, cache)
        return found, self.complete - before


@pytest.fixture
def here(room: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    made = Room(room, monkeypatch)
    yield made
    made.watches.close()
    made.store.close()


def test_only_the_first_reading_is_of_everything(here: Room) -> None:
    live = here.live("a")
    assert here.read(live)[1] == 1
    assert here.watches.watched() == {"a": 2}
    (live / "new" / "deep").mkdir(parents=True)
    (live / "new" / "deep" / "x").write_text("x")
    found, complete = here.read(live)
    assert (found.totals.entries, found.hashed, complete) == (5, 1, 0)
    (live / "new" / "deep" / "x").write_text("y")
    assert here.read(live)[0].hashed == 1
    shutil.rmtree(live / "new")
    assert here.read(live) == (here.read(live)[0], 0)
    assert here.watches.watched() == {"a": 2}


def test_an_unchanged_directory_is_not_touched(here: Room) -> None:
    live = here.live("a")
    first = here.read(live)[0]
    again, complete = here.read(live)
    assert (again.snapshot, again.hashed, complete) == (first.snapshot, 0, 0)


def overflow(here: Room, live: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip("a queue too long to fill")
    with here.watches._lock:  # the thread that empties queues waits for it
        for number in range(limit // 2 + 1):
            (live / f"{number}").touch()
            (live / f"{number}").unlink()


def too_many_changes(here: Room, live: Path) -> None:
    for number in range(watch.MOST_CHANGES + 1):
        here.watches._all["a"][0]._touch(b"d", b"%d" % number, watch.Seen.CAME)


def root_moved(here: Room, live: Path) -> None:
    live.rename(live.with_name("elsewhere"))
    shutil.copytree(live.with_name("elsewhere"), live)


def second_name(here: Room, live: Path) -> None:
    os.link(live / "d" / "f", live / "g")


def written_without_a_name(here: Room, live: Path) -> None:
    fd = os.open(live / "h", os.O_WRONLY | os.O_CREAT)
    (live / "h").unlink()
    os.write(fd, b"x")
    os.close(fd)


def time_passes(here: Room, live: Path) -> None:
    here.now += watches.TRUST_SECONDS + 1


@pytest.mark.parametrize(
    "doubt", [overflow, too_many_changes, root_moved, second_name, written_without_a_name, time_passes]
)
def test_in_doubt_everything_is_read_and_the_watch_begins_again(
    here: Room, doubt: Callable[[Room, Path], None]
) -> None:
    live = here.live("a")
    here.read(live)
    doubt(here, live)
    (live / "d" / "f").write_text("changed")
    found, complete = here.read(live)
    assert (found.hashed >= 1, complete) == (True, 1)
    assert here.read(live)[1] == 0


def test_a_file_with_a_second_name_is_always_looked_at(here: Room) -> None:
    """Nothing tells of a write through a name outside."""
    live, other = here.live("a"), here.room / "outside"
    os.link(live / "d" / "f", other)
    first = here.read(live)[0]
    other.write_text("through the other name")
    found, complete = here.read(live)
    assert (found.snapshot.tree != first.snapshot.tree, complete) == (True, 0)


def test_a_name_made_outside_is_found_when_everything_is_read(here: Room) -> None:
    """What is promised of the one thing that the kernel tells nobody: found in a minute, and never overwritten."""
    live, other = here.live("a"), here.room / "outside"
    first = here.read(live)[0]
    os.link(live / "d" / "f", other)
    other.write_text("through the other name")
    assert here.read(live)[0].snapshot == first.snapshot
    time_passes(here, live)
    assert here.read(live)[0].snapshot.tree != first.snapshot.tree


def test_what_is_about_to_change_is_looked_at_whatever_the_watch_says(
    open_spaces: Callable[..., Workspaces], live: Path, room: Path
) -> None:
    (live / "f").write_text("mine")
    spaces = open_spaces()
    workspace = spaces.create(DirectorySource(live))
    capture = spaces.edit(workspace.id, workspace.head, "f", b"the step's")
    os.link(live / "f", room / "outside")
    (room / "outside").write_text("through a name made outside")
    with pytest.raises(InterlockError) as refused:
        spaces.publish(workspace.id, capture.base_tree, capture.result_tree, look="affected")
    assert refused.value.reason is Reason.WORKSPACE_DRIFTED
    with pytest.raises(InterlockError) as refused:
        spaces.publish(workspace.id, capture.base_tree, capture.result_tree)
    assert refused.value.reason is Reason.WORKSPACE_DRIFTED
    drift = spaces.look_for_drift(workspace.id)
    assert drift is not None, "having missed one, everything is read"
    assert [change.path for change in drift.changes] == ["f"]
    assert (live / "f").read_text() == "through a name made outside"


def test_a_mapping_is_told_of_when_it_ends(here: Room) -> None:
    live = here.live("a")
    first = here.read(live)[0]
    fd = os.open(live / "d" / "f", os.O_RDWR)
    mapped = mmap.mmap(fd, 3)
    os.close(fd)
    mapped[:3] = b"two"
    mapped.close()
    found, complete = here.read(live)
    assert (found.snapshot.tree != first.snapshot.tree, complete) == (True, 0)


def test_the_least_recently_used_is_given_up_first(here: Room) -> None:
    here.watches.close()
    here.use(Watches(directories=5))
    a, b, c = here.live("a"), here.live("b"), here.live("c")
    for live in (a, b, a):
        here.read(live)
    here.read(c)
    assert here.watches.watched() == {"a": 2, "c": 2}
    assert [here.read(live)[1] for live in (a, c, b)] == [0, 0, 1]


@pytest.mark.parametrize("directories", [0, 1])
def test_a_directory_that_may_not_be_watched_is_read_whole(here: Room, directories: int) -> None:
    here.watches.close()
    here.use(Watches(directories=directories))
    live = here.live("a")
    assert [here.read(live)[1] for _ in range(3)] == [1, 1, 1]
    assert here.watches.watched() == {}


def test_where_no_instance_is_left_everything_is_read_and_that_is_said_once(
    here: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    live, other = here.live("a"), here.live("b")

    def refused() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as change:
        change.setattr(watch, "Inotify", refused)
        assert [here.read(path)[1] for path in (live, other, live)] == [1, 1, 1]
        (live / "d" / "f").write_text("two")
        assert here.read(live)[0].hashed == 1
    assert caplog.text.count("raise fs.inotify.max_user_instances") == 1
    assert [here.read(live)[1] for _ in range(2)] == [1, 0], "watched again as soon as it can be"


def test_a_reading_that_failed_is_followed_by_one_of_everything(here: Room) -> None:
    live = here.live("a")
    here.read(live)
    here.limits = Limits(entries=2)
    (live / "more").touch()
    with pytest.raises(InterlockError) as refused:
        here.read(live)
    assert refused.value.reason is Reason.WORKSPACE_LIMIT_EXCEEDED
    here.limits = Limits()
    found, complete = here.read(live)
    assert (found.totals.entries, complete) == (3, 1)


def test_file_systems_of_this_kernel_and_others(room: Path) -> None:
    with Root.open(room) as local, Root.open("/proc") as other:
        assert is_local(local.fd)
        assert not is_local(other.fd)


def test_mounts_below_a_directory() -> None:
    mounts = Mounts()
    try:
        assert not mounts.below(Path("/nowhere"))
        points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        inner = next(Path(point) for point in points if point.count("/") > 1 and "\\" not in point)
        assert mounts.below(inner.parent)
        assert not mounts.below(inner / "deeper")
    finally:
        mounts.close()
