"""A collection that takes long to be told what to keep: what is entered meanwhile stays, whatever the clock says."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from interlock.common.clock import ManualClock
from interlock.common.digests import digest_bytes
from interlock.common.errors import InterlockError, Reason
from interlock.executor.commands.collect_garbage import Wanted
from interlock.executor.workspaces import DirectorySource, Workspaces
from interlock.executor.workspaces.collector import Ask, Retention
from interlock.executor.workspaces.registry import NAMES_AT_ONCE

JUMPS = (timedelta(days=100), timedelta(0), timedelta(days=-100))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def spaces(open_spaces: Callable[..., Workspaces], clock: ManualClock) -> Workspaces:
    return open_spaces(clock=clock, retention=Retention(timedelta(days=30), timedelta(0)))


@pytest.fixture
def workspace(spaces: Workspaces, live: Path) -> str:
    live.mkdir(exist_ok=True)
    (live / "a").write_bytes(b"start")
    return spaces.create(DirectorySource(live)).id


def preview(spaces: Workspaces, workspace: str, content: bytes) -> str:
    return spaces.edit(workspace, spaces.get(workspace).head, "a", content).result_tree


def publish(spaces: Workspaces, workspace: str, content: bytes, key: str = "") -> str:
    done = spaces.edit(workspace, spaces.get(workspace).head, "a", content)
    spaces.publish(workspace, done.base_tree, done.result_tree, key=key or content.decode())
    return done.result_tree


def known(spaces: Workspaces, workspace: str) -> set[bytes]:
    return {row.tree for row in spaces._registry.trees_of(workspace)}


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_what_was_entered_since_it_began_stays_when_the_clock_jumps(
    spaces: Workspaces, workspace: str, clock: ManualClock, jump: timedelta
) -> None:
    old = publish(spaces, workspace, b"old")
    rejected = preview(spaces, workspace, b"rejected")
    in_force = publish(spaces, workspace, b"in force when it begins")
    clock.advance(timedelta(days=1).total_seconds())
    begun = spaces.collector.begin()
    clock.set_now(clock.now() + jump / 2)
    entered = [publish(spaces, workspace, b"step %d" % number) for number in range(3)]
    waiting = preview(spaces, workspace, b"waiting")
    clock.set_now(clock.now() + jump / 2)
    ask = Ask(frozenset({workspace}), history=timedelta(0), begun=begun)
    assert spaces.collector.collect(ask, dry_run=True).pruned.trees == 2
    assert spaces.collector.collect(ask).pruned.trees == 2
    here = known(spaces, workspace)
    assert {digest_bytes(tree) for tree in (in_force, *entered, waiting)} <= here
    assert not {digest_bytes(old), digest_bytes(rejected)} & here
    for number, tree in enumerate(entered):
        key = f"step {number}"
        assert spaces._registry.publication(workspace, key) is not None, "an answer that was just given"
        spaces.rollback(workspace, tree, key=f"back {number}")
        assert spaces.read_file(workspace, "a").data == key.encode()


def test_an_old_tree_that_is_entered_again_stays(
    spaces: Workspaces, workspace: str, clock: ManualClock
) -> None:
    old = [publish(spaces, workspace, b"old %d" % number) for number in range(3)]
    publish(spaces, workspace, b"head")
    clock.advance(timedelta(days=1).total_seconds())
    begun = spaces.collector.begin()
    spaces.rollback(workspace, old[0], key="back")
    assert preview(spaces, workspace, b"old 1") == old[1]
    publish(spaces, workspace, b"after")
    clock.advance(timedelta(days=100).total_seconds())
    spaces.collector.collect(Ask(frozenset({workspace}), history=timedelta(0), begun=begun))
    here = known(spaces, workspace)
    assert [digest_bytes(tree) in here for tree in old] == [True, True, False]


def test_the_next_collection_takes_what_this_one_had_to_leave(
    spaces: Workspaces, workspace: str, clock: ManualClock
) -> None:
    begun = spaces.collector.begin()
    left = preview(spaces, workspace, b"left")
    clock.advance(1)
    ask = Ask(frozenset({workspace}), history=timedelta(0), begun=begun)
    assert spaces.collector.collect(ask).pruned.trees == 0
    assert spaces.collector.collect(Ask(frozenset({workspace}), history=timedelta(0))).pruned.trees == 1
    assert digest_bytes(left) not in known(spaces, workspace)


def test_who_went_away_without_an_end_is_told_nothing_more(spaces: Workspaces, workspace: str) -> None:
    begun = [spaces.collector.begin() for _ in range(3)]
    preview(spaces, workspace, b"one")
    assert all(each.since.notes for each in begun)
    del begun
    gc.collect()
    assert not list(spaces._registry._entries._watching)


def wanted(spaces: Workspaces, **more: int) -> Wanted:
    return Wanted(
        spaces.collector.begin(),
        frozenset(spaces.entered()),
        spaces.known_trees(),
        frozenset({"run-a"}),
        **more,
    )


def test_only_names_that_mean_something_here_are_kept(spaces: Workspaces, workspace: str) -> None:
    asked = wanted(spaces)
    head = spaces.get(workspace).head
    asked.add([f"ws-{n}" for n in range(1000)], ["sha256:" + "0" * 64, head], ["run-a", "run-b"])
    asked.add([workspace], [], [])
    assert asked.named == {workspace}
    assert asked.trees == {digest_bytes(head)}
    assert asked.runs == {"run-a"}


@pytest.mark.parametrize("field", ["workspace_ids", "trees", "run_ids"])
def test_names_have_a_bound_in_all(spaces: Workspaces, workspace: str, field: str) -> None:
    asked = wanted(spaces, max_names=6)
    head = spaces.get(workspace).head
    asked.add([workspace] * 2, [head] * 2, ["run-a"] * 2)
    one = {"workspace_ids": [workspace], "trees": [head], "run_ids": ["run-a"]}
    with pytest.raises(InterlockError) as caught:
        asked.add(*(one[each] if each == field else [] for each in one))
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, field)


def test_others_come_between_the_pages_of_names(spaces: Workspaces) -> None:
    registry = spaces._registry
    seen: list[int] = []

    def names() -> Iterator[str]:
        for number in range(2 * NAMES_AT_ONCE + 1):
            if number % NAMES_AT_ONCE == 0:
                other = threading.Thread(target=lambda: seen.append(len(registry.named_since(""))))
                other.start()
                other.join(30)
                assert not other.is_alive(), "the register's lock is held"
            yield f"ws-{number}"

    registry.name(names())
    assert seen == [0, NAMES_AT_ONCE, 2 * NAMES_AT_ONCE]
    assert len(registry.named_since("")) == 2 * NAMES_AT_ONCE + 1
