from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text
from tests.support.store import IDLE, append

from interlock.orchestrator.store import leases, turns
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.errors import LeaseLost
from interlock.orchestrator.store.journal import Journal
from interlock.orchestrator.store.readers import runs

LONG = 3600.0


async def create(journal: Journal, count: int) -> list[str]:
    names = [f"run-{n:03}" for n in range(count)]
    await asyncio.gather(*(journal.append(append(name, 0)) for name in names))
    return names


async def expire(database: Database, owner: str) -> None:
    await database.write(
        text("UPDATE drivers SET until = now() - interval '1 second' WHERE owner = :owner").bindparams(
            owner=owner
        )
    )


async def test_a_run_is_claimed_once(journal: Journal, database: Database) -> None:
    await create(journal, 1)
    assert await leases.claim(database, "one", LONG) == [leases.Claimed("run-000", 1, 1, "RUNNING")]
    assert await leases.claim(database, "one", LONG) == []
    assert await leases.claim(database, "two", LONG) == []
    assert (await runs.get(database, "run-000")).lease_owner == "one"


async def test_claimers_at_once_share_without_overlap(journal: Journal, database: Database) -> None:
    names = await create(journal, 100)
    owners = [f"owner-{n}" for n in range(5)]
    taken = await asyncio.gather(*(leases.claim(database, owner, LONG, limit=15) for owner in owners))
    claimed = [run.run_id for claim in taken for run in claim]
    assert len(set(claimed)) == len(claimed)
    while more := await leases.claim(database, "owner-0", LONG, limit=15):
        claimed += [run.run_id for run in more]
    assert sorted(claimed) == names


async def test_runs_without_work_are_not_claimed(journal: Journal, database: Database) -> None:
    await journal.append(append("run-idle", 0, head=IDLE))
    assert await leases.claim(database, "one", LONG) == []
    await journal.append(append("run-idle", 1))
    assert [run.run_id for run in await leases.claim(database, "one", LONG)] == ["run-idle"]


async def test_a_dead_owners_runs_go_over_and_it_is_fenced_off(journal: Journal, database: Database) -> None:
    await create(journal, 1)
    [old] = await leases.claim(database, "one", LONG)
    await expire(database, "one")
    [new] = await leases.claim(database, "two", LONG)
    assert new.epoch == old.epoch + 1
    with pytest.raises(LeaseLost) as caught:
        await journal.append(append("run-000", 1, epoch=old.epoch))
    assert caught.value.current_epoch == new.epoch
    assert (await journal.append(append("run-000", 1, epoch=new.epoch))).seq == 2
    assert await leases.renew(database, "one", LONG) == {}
    assert await leases.renew(database, "two", LONG) == {"run-000": new.epoch}


async def test_an_owner_that_was_only_late_keeps_its_runs(journal: Journal, database: Database) -> None:
    await create(journal, 2)
    await leases.claim(database, "one", LONG)
    await expire(database, "one")
    assert await leases.claim(database, "one", LONG) == []
    assert await leases.renew(database, "one", LONG) == {"run-000": 1, "run-001": 1}
    assert await leases.claim(database, "two", LONG) == []


async def test_released_leases_are_free_at_once(journal: Journal, database: Database) -> None:
    await create(journal, 3)
    await leases.claim(database, "one", LONG)
    assert await leases.release(database, "two", ["run-000"]) == []
    assert await leases.release(database, "one", ["run-002", "run-000", "run-none"]) == ["run-000", "run-002"]
    again = await leases.claim(database, "two", LONG)
    assert [(run.run_id, run.epoch) for run in again] == [("run-000", 2), ("run-002", 2)]
    assert await leases.renew(database, "one", LONG) == {"run-001": 1}


async def test_a_clean_stop_frees_everything(journal: Journal, database: Database) -> None:
    await create(journal, 3)
    await leases.claim(database, "one", LONG)
    assert await leases.retire(database, "one")
    assert not await leases.retire(database, "one")
    assert len(await leases.claim(database, "two", LONG)) == 3


async def test_old_heartbeats_are_swept(database: Database) -> None:
    await leases.renew(database, "old", LONG)
    await database.write(text("UPDATE drivers SET until = now() - interval '2 hours'"))
    await leases.renew(database, "one", LONG)
    assert [row[0] for row in await database.all(text("SELECT owner FROM drivers"))] == ["one"]


async def test_a_lease_taken_with_the_first_event_is_a_lease(journal: Journal, database: Database) -> None:
    await leases.renew(database, "one", LONG)
    assert (await journal.append(append("run-a", 0, take="one"))).epoch == 1
    assert await leases.claim(database, "two", LONG) == []
    assert await leases.renew(database, "one", LONG) == {"run-a": 1}


async def test_leases_and_flushes_do_not_deadlock(journal: Journal, database: Database) -> None:
    names = await create(journal, 40)
    stop = asyncio.Event()

    async def write(name: str) -> None:
        seq = 1
        while not stop.is_set():
            seq = (await journal.append(append(name, seq))).seq

    writers = [asyncio.create_task(write(name)) for name in reversed(names)]
    for _ in range(30):
        await leases.claim(database, "one", LONG)
        await asyncio.gather(
            leases.renew(database, "one", LONG),
            leases.release(database, "one", list(reversed(names))),
            leases.claim(database, "two", LONG, limit=7),
            leases.release(database, "two", names),
        )
    stop.set()
    await asyncio.gather(*writers)
    owners = {row.lease_owner for row in await runs.list_runs(database, limit=100)}
    assert owners <= {None, "one", "two"}


async def test_of_many_everybody_gets_as_many(journal: Journal, database: Database) -> None:
    """Among those who live; what they take turns at is nobody who drives runs."""
    names = await create(journal, 48)
    await leases.claim(database, "gone", LONG)
    for owner in ("one", "two", "three"):
        await leases.renew(database, owner, LONG)
    assert await turns.take(database, "a turn", LONG)
    await leases.retire(database, "gone")
    counts = {owner: len(await leases.claim(database, owner, LONG)) for owner in ("one", "two", "three")}
    assert counts == {"one": 16, "two": 11, "three": 8}, "a third of what is left, and not less than a few"
    for owner in ("three", "two", "one", "three"):
        counts[owner] += len(await leases.claim(database, owner, LONG))
    assert sum(counts.values()) == len(names)
    assert max(counts.values()) <= 24
