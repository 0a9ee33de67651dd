"""Garbage collection: what is referred to stays, the rest goes, and nothing that is in use is ever taken."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.trees import Tree, read_tree, write_tree

from interlock.common.clock import ManualClock
from interlock.common.digests import digest_bytes
from interlock.common.errors import InterlockError, Reason
from interlock.executor.files import failpoints
from interlock.executor.snapshots.mark import Marks
from interlock.executor.snapshots.model import Snapshot
from interlock.executor.workspaces import DirectorySource, Workspaces
from interlock.executor.workspaces.collector import Ask, Retention

START: Tree = {b"a": ("f", 0o644, b"a"), b"d": ("d", 0o755), b"d/b": ("f", 0o644, b"b")}
DAY = timedelta(days=1)


class Made:
    """A workspace with a clock in the test's hands; objects have no grace, rows a minute."""

    def __init__(self, spaces: Workspaces, clock: ManualClock, live: Path) -> None:
        self.spaces, self.clock, self.live = spaces, clock, live
        self.numbers = itertools.count()
        write_tree(live, START)
        self.id = spaces.create(DirectorySource(live)).id
        self.first = self.head

    @property
    def head(self) -> str:
        return self.spaces.get(self.id).head

    def publish(self, content: bytes, path: str = "a") -> str:
        done = self.spaces.edit(self.id, self.head, path, content)
        self.spaces.publish(self.id, done.base_tree, done.result_tree, key=f"k{next(self.numbers)}")
        return done.result_tree

    def later(self, days: int) -> None:
        # What the last look saw stays in the stat cache, and so in the store.
        self.spaces.look_for_drift(self.id)
        self.clock.advance(days * DAY.total_seconds())

    def collect(self, *keep: str, named: bool = False, dry_run: bool = False, **more: Any) -> Any:
        ask = Ask(frozenset({self.id} if named else ()), frozenset(map(digest_bytes, keep)), **more)
        return self.spaces.collector.collect(ask, dry_run=dry_run)

    def whole(self, tree: str) -> bool:
        """Whether everything a tree needs is in the store."""
        marks = Marks(self.spaces.store)
        marks.add([Snapshot(digest_bytes(tree))])
        return all(self.spaces.store.has(each) for each in marks.ids)

    def gone(self, tree: str) -> bool:
        with pytest.raises(InterlockError) as caught:
            self.spaces.diff(self.id, tree, self.head)
        assert caught.value.reason is Reason.TREE_NOT_FOUND
        return not self.spaces.store.has(digest_bytes(tree))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def retention(monkeypatch: pytest.MonkeyPatch) -> Retention:
    # The age of objects is counted by the system's clock; here it does not protect them.
    return Retention(timedelta(days=30), timedelta(0))


@pytest.fixture
def made(
    open_spaces: Callable[..., Workspaces], clock: ManualClock, retention: Retention, live: Path
) -> Made:
    return Made(open_spaces(clock=clock, retention=retention), clock, live)


def test_history_past_retention_goes_and_the_rest_can_be_returned_to(made: Made) -> None:
    old = made.publish(b"old")
    made.later(20)
    middle = made.publish(b"middle")
    made.later(20)
    young = made.publish(b"young")
    made.later(15)
    before = made.spaces.usage()
    foreseen = made.collect(dry_run=True)
    assert made.spaces.usage() == before
    done = made.collect()
    assert done == foreseen
    assert (done.pruned.trees, done.pruned.heads) == (1, 1)
    assert made.gone(old), "it was left 35 days ago"
    # The middle one was the head until 15 days ago.
    assert all(made.whole(tree) for tree in (made.first, middle, young))
    after = made.spaces.usage()
    assert after.objects == before.objects - done.swept.removed == done.swept.kept
    assert after.disk_bytes == before.disk_bytes - done.swept.freed == done.swept.bytes_kept
    assert made.collect().swept.removed == 0
    made.spaces.rollback(made.id, middle, key="back")
    assert (made.live / "a").read_bytes() == b"middle"
    made.spaces.rollback(made.id, made.first, key="start")
    assert read_tree(made.live) == START


def test_what_the_caller_names_stays_and_what_it_does_not_goes(made: Made) -> None:
    kept, dropped = made.publish(b"kept"), made.publish(b"dropped")
    made.publish(b"head")
    rejected = made.spaces.edit(made.id, made.head, "x", b"rejected").result_tree
    made.later(1)
    made.collect(kept, named=True, history=timedelta(hours=1))
    assert made.gone(dropped)
    assert made.gone(rejected), "a preview that nobody speaks for goes at once"
    assert made.whole(kept)
    made.spaces.rollback(made.id, kept, key="back")
    assert (made.live / "a").read_bytes() == b"kept"


def test_workspaces_of_others_are_left_alone(made: Made) -> None:
    dropped = made.publish(b"dropped")
    made.publish(b"head")
    made.collect(dropped, named=True)
    made.later(20)
    made.collect()
    assert made.whole(dropped), "somebody named the workspace 20 days ago"
    made.later(20)
    made.collect()
    assert made.gone(dropped), "nobody has spoken for it for 40 days"


def test_undecided_effects_and_forks_keep_what_they_need(made: Made) -> None:
    base = made.publish(b"base")
    preview = made.spaces.edit(made.id, base, "a", b"preview").result_tree
    fork = made.spaces.fork(made.id)
    made.clock.advance(100 * DAY.total_seconds())
    made.spaces.collector.effects = lambda: [(made.id, base), (made.id, preview)]
    made.collect(named=True, history=timedelta(0))
    assert made.whole(preview)
    made.spaces.collector.effects = tuple
    (fork.upper / "new").write_bytes(b"captured after the collection")
    assert made.spaces.capture(fork).base_tree == base
    made.spaces.discard(fork)
    made.later(100)
    made.collect(named=True, history=timedelta(0))
    assert made.gone(preview)


def test_a_gap_in_history_is_no_drift(made: Made) -> None:
    """What stands on a tree from before the gap must not be published as if only others had changed things."""
    base = made.publish(b"base")
    capture = made.spaces.edit(made.id, base, "x", b"x")
    made.publish(b"between")
    (made.live / "drift").write_bytes(b"d")
    made.spaces.look_for_drift(made.id)
    made.later(50)
    made.collect(base, capture.result_tree, named=True, history=timedelta(0))
    assert [head.cause for head in made.spaces.heads(made.id)] == ["import", "publish", "drift"]
    with pytest.raises(InterlockError) as caught:
        made.spaces.publish(made.id, base, capture.result_tree)
    assert caught.value.reason is Reason.WORKSPACE_HEAD_MOVED


def test_the_stat_cache_keeps_what_the_next_look_takes_over(made: Made) -> None:
    """A look that found a conflict is entered nowhere for long, but the next one takes its ids from the cache."""
    capture = made.spaces.edit(made.id, made.head, "a", b"mine")
    (made.live / "a").write_bytes(b"theirs")
    with pytest.raises(InterlockError):
        made.spaces.publish(made.id, capture.base_tree, capture.result_tree)
    made.later(50)
    made.collect(named=True, history=timedelta(0))
    made.spaces.look_for_drift(made.id)
    assert made.whole(made.head)
    assert made.spaces.read_file(made.id, "a", tree=made.head).data == b"theirs"


def test_what_was_saved_of_an_earlier_look_keeps_nothing_and_is_not_believed(
    made: Made, open_spaces: Callable[..., Workspaces]
) -> None:
    """Saved when the workspace was made, superseded in memory since; then the executor is killed."""
    for path in (made.live / "a", made.live / "d" / "b"):
        path.rename(path.with_name("kept-" + path.name))
        (made.live / "a2").write_bytes(b"in between")
    made.spaces.look_for_drift(made.id)
    (made.live / "a2").unlink()
    made.later(50)
    again = made.publish(b"head", "head")
    made.later(50)
    before = made.spaces.usage().objects
    assert made.collect(named=True, history=timedelta(0)).swept.removed > 0
    assert made.spaces.usage().objects < before
    saved = made.spaces._registry.load_cache(made.id)
    assert all(made.spaces.store.has(known[1]) for files in saved.files.values() for known in files.values())
    made.spaces._registry.save_cache = lambda *_: None  # type: ignore[method-assign]  # as if it were killed
    made.spaces.close()
    spaces = open_spaces()
    assert spaces.look_for_drift(made.id) is None
    assert spaces.get(made.id).head == again


BEFORE_DELETING = ("collect.pruned", "collect.marked", "collect.page")
WHILE_DELETING = ("collect.doomed", "collect.deleted")


@pytest.mark.parametrize("point", [*BEFORE_DELETING, *WHILE_DELETING])
def test_an_object_that_is_used_again_during_a_collection_stays(made: Made, point: str) -> None:
    """The same content is put again, found in the store, and entered, while the collection is about to take it."""
    made.publish(b"again" * 100, "again")
    made.spaces.rollback(made.id, made.first, key="away")
    made.later(100)
    found: list[str] = []
    user = threading.Thread(target=lambda: found.append(made.publish(b"again" * 100, "again")))

    def use_again(passed: str) -> None:
        if passed == point:
            failpoints.action = None
            user.start()
            # Before anything is deleted it does not wait for the collection; while a page goes, it does.
            user.join(30 if point in BEFORE_DELETING else 0.5)
            assert user.is_alive() == (point in WHILE_DELETING)

    failpoints.action = use_again
    try:
        made.collect(named=True, history=timedelta(0))
    finally:
        failpoints.action = None
    user.join(30)
    assert found == [made.head]
    assert made.whole(made.head)
    made.collect(named=True, history=timedelta(0))
    assert made.whole(made.head)
    assert made.spaces.read_file(made.id, "again", tree=made.head).data == b"again" * 100


def test_a_capture_that_began_before_the_collection_keeps_its_hits(made: Made) -> None:
    """Found before the collection looked at any reference, entered after it has ended."""
    made.publish(b"again" * 100, "again")
    made.spaces.rollback(made.id, made.first, key="away")
    made.later(100)
    store = made.spaces.store
    with store.sessions.open():
        batch = store.batch()
        object_id = batch.put(b"again" * 100)
        assert made.collect(named=True, history=timedelta(0)).swept.removed > 0
        batch.commit()
    assert store.has(object_id)
    made.collect(named=True, history=timedelta(0))
    assert not store.has(object_id)


def test_one_collection_at_a_time(made: Made) -> None:
    refused: list[InterlockError] = []

    def second(passed: str) -> None:
        failpoints.action = None
        with pytest.raises(InterlockError) as caught:
            made.collect()
        refused.append(caught.value)

    failpoints.action = second
    try:
        made.collect()
    finally:
        failpoints.action = None
    assert [error.reason for error in refused] == [Reason.UNAVAILABLE]


class NotThere(Exception):
    """A tree is not there any more."""


def test_many_captures_beside_many_collections(made: Made) -> None:
    """Old and new contents in turn, published and rolled back, while collections run one after the other."""
    stop = threading.Event()
    made.spaces.collector.retention = Retention(timedelta(seconds=0), timedelta(seconds=0))
    failed: list[BaseException] = []

    def collections() -> None:
        while not stop.is_set():
            try:
                made.clock.advance(1)
                made.collect(named=True, history=timedelta(0))
            except BaseException as error:  # noqa: BLE001 told by the test's own thread
                failed.append(error)
                return

    def publish(content: bytes, path: str) -> str:
        try:
            return made.publish(content, path)
        except InterlockError as error:
            raise NotThere if error.reason is Reason.TREE_NOT_FOUND else error from error

    collecting = threading.Thread(target=collections)
    collecting.start()
    try:
        for number in range(60):
            # The head's own tree and the ones between are all that is kept; contents come back every few rounds.
            done = None
            while done is None:
                with contextlib.suppress(NotThere):  # the result may go before it is published
                    done = publish(b"content %d" % (number % 4) * 50, f"d/{number % 3}")
            assert made.whole(made.head)
    finally:
        stop.set()
        collecting.join(60)
    assert not failed, failed
    assert made.whole(made.first)
    made.spaces.rollback(made.id, made.first, key="start")
    assert read_tree(made.live) == START
