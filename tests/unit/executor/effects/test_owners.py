"""Whose an effect is, in the record of effects and among the work under way."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.caller import BY_HAND, Caller
from interlock.executor.domain.model import EffectKey, EffectState
from interlock.executor.effects.inflight import InFlight
from interlock.executor.effects.store import EffectStore, Record

KEY = EffectKey("run-1", 1, 2)
OWNED = Record(KEY, "ws-1", "f", EffectState.PREPARED, owner="sha256:mine")

FIRST_RELEASE = """
CREATE TABLE effects(
  run TEXT NOT NULL, step INTEGER NOT NULL, attempt INTEGER NOT NULL,
  workspace TEXT NOT NULL, fingerprint TEXT NOT NULL, state TEXT NOT NULL, outside INTEGER NOT NULL,
  base_tree TEXT NOT NULL, result_tree TEXT NOT NULL, request_document BLOB NOT NULL, effect_document BLOB NOT NULL,
  request_digest TEXT NOT NULL, effect_digest TEXT NOT NULL, payload BLOB NOT NULL,
  approval TEXT NOT NULL, head_tree TEXT NOT NULL, merged INTEGER NOT NULL, applied_at TEXT NOT NULL, at TEXT NOT NULL,
  PRIMARY KEY(run, step, attempt)) WITHOUT ROWID;
CREATE TABLE epochs(run TEXT PRIMARY KEY, epoch INTEGER NOT NULL, at TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO effects VALUES('run-1', 1, 2, 'ws-1', 'f', 'prepared', 0, 'b', 'r', x'7b7d', x'7b7d', 'q', 'e', x'', '', '',
  0, '', 'now');
INSERT INTO epochs VALUES('run-1', 5, 'now');
"""
APPROVED = "ALTER TABLE effects ADD COLUMN approved_request TEXT NOT NULL DEFAULT ''"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "effects.db"


def test_the_owner_is_kept(path: Path) -> None:
    store = EffectStore(path)
    store.put(OWNED)
    store.close()
    store = EffectStore(path)
    assert store.get(KEY) == OWNED
    assert store.in_state(EffectState.PREPARED)[0].owner == "sha256:mine"
    store.close()


@pytest.mark.parametrize("since", [(), (APPROVED,)])
def test_effects_of_earlier_releases_are_anyones(path: Path, since: tuple[str, ...]) -> None:
    with sqlite3.connect(path) as db:
        db.executescript(FIRST_RELEASE)
        for statement in since:
            db.execute(statement)
    db.close()
    store = EffectStore(path)
    found = store.get(KEY)
    assert found is not None
    assert (found.owner, found.approved_request, found.effect_digest) == ("", "", "e")
    store.put(OWNED)
    assert store.get(KEY) == OWNED
    with pytest.raises(InterlockError) as caught:
        store.fence("run-1", 4, "now")
    assert caught.value.reason is Reason.EPOCH_STALE
    store.close()


def fenced(store: EffectStore, epoch: int, driver: str) -> Reason | None:
    try:
        store.fence("run-1", epoch, "now", driver)
    except InterlockError as error:
        return error.reason
    return None


def test_each_drivers_secret_has_epochs_of_its_own(path: Path) -> None:
    """Someone who does not know the secret cannot put a driver off with a higher epoch."""
    store = EffectStore(path)
    assert fenced(store, 2**62, "") is None
    assert fenced(store, 2**62, "stranger") is None
    assert fenced(store, 1, "mine") is None
    assert fenced(store, 3, "mine") is None
    assert fenced(store, 2**62, "stranger") is None
    store.close()
    store = EffectStore(path)
    assert fenced(store, 2, "mine") is Reason.EPOCH_STALE
    assert fenced(store, 3, "mine") is None
    store.close()


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_run_that_is_driven_refuses_calls_without_a_secret(path: Path, epoch: int) -> None:
    store = EffectStore(path)
    assert fenced(store, 0, "") is None
    assert fenced(store, epoch, "mine") is None
    for wanted in (0, 1, 2**62):
        assert fenced(store, wanted, "") is Reason.EFFECT_NOT_OWNED
    store.close()
    store = EffectStore(path)
    assert fenced(store, 2**62, "") is Reason.EFFECT_NOT_OWNED
    store.fence("run-2", 0, "now")
    store.close()


@pytest.mark.parametrize(
    ("first", "second"),
    [(BY_HAND, Caller(owner="a")), (Caller(owner="a"), BY_HAND), (Caller(owner="a"), Caller(owner="b"))],
)
async def test_work_under_way_is_joined_by_its_owner_only(first: Caller, second: Caller) -> None:
    jobs, go = InFlight(), asyncio.Event()

    async def work(_: asyncio.Event) -> Record:
        await go.wait()
        return OWNED

    async def never(_: asyncio.Event) -> Record:
        raise AssertionError("the work of someone else's key was begun")

    running = asyncio.create_task(jobs.join(KEY, "prepare", "f", work, first))
    await asyncio.sleep(0)
    assert jobs.owner(KEY) == first.owner
    with pytest.raises(InterlockError) as caught:
        await jobs.join(KEY, "prepare", "f", never, second)
    assert caught.value.reason is Reason.EFFECT_NOT_OWNED
    joined = asyncio.create_task(jobs.join(KEY, "prepare", "f", never, first))
    await asyncio.sleep(0)
    go.set()
    assert list(await asyncio.gather(running, joined)) == [OWNED, OWNED]
    assert jobs.owner(KEY) is None
