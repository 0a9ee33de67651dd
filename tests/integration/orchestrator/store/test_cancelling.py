"""Wherever opening, using or closing a connection is cancelled, no connection stays open."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psycopg
import pytest
from sqlalchemy import text
from tests.support.cancelling import interrupted
from tests.support.store import START, append

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.store import engine
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.feed import Feed
from interlock.orchestrator.store.journal import Journal
from interlock.orchestrator.store.notifier import Notifier
from interlock.orchestrator.store.readers import events
from interlock.orchestrator.store.records import FeedRow, Flushed

ROW = FeedRow(1, "run-a", 1, "t", None, START, b"", b"")
Use = Callable[[Database], Awaitable[None]]


async def query(database: Database) -> None:
    await events.position(database)


async def write(database: Database) -> None:
    await database.write(text("UPDATE feed SET position = position"))


async def connection(database: Database) -> None:
    driver = await database.connect()
    try:
        await driver.execute("SELECT 1")
    finally:
        await driver.close()


async def feed(database: Database) -> None:
    made = Feed(database, poll=60)
    try:
        await made.start()
        await made._listener.connected.wait()
    finally:
        await made.close()


async def journal(database: Database) -> None:
    made = Journal(database)
    try:
        await made.start()
        await made.append(append("run-a", 0))
    finally:
        await made.close()


async def notifier(database: Database) -> None:
    made = Notifier(database)
    try:
        await made.start()
        made.hint(Flushed((ROW,)))
        await asyncio.sleep(0)
    finally:
        await made.close()


async def reconnecting(database: Database) -> None:
    """A journal whose connection is lost, and which ends the lost one's session when it has a new one."""
    made = Journal(database)
    try:
        await made.start()
        assert made._link._driver
        await made._link._driver.close()
        await made.append(append("run-a", 0))
    finally:
        await made.close()


USES: list[Use] = [query, write, connection, feed, journal, notifier, reconnecting]


@pytest.fixture(params=[5, pytest.param(1, marks=pytest.mark.torture)], ids=["one in five", "every one"])
def stride(request: pytest.FixtureRequest) -> int:
    """From one place where it is cancelled to the next that is tried: `make torture` tries every one."""
    assert isinstance(request.param, int)
    return request.param


@asynccontextmanager
async def nothing_left_open(database_url: str) -> AsyncIterator[None]:
    """Nothing was left to the garbage collector, and the server has no session of ours."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert not [str(warning.message) for warning in seen]
    ours = """SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'interlock'"""
    async with asyncio.timeout(10):
        async with await psycopg.AsyncConnection.connect(
            database_url.replace("+psycopg", ""), autocommit=True
        ) as other:
            while (await (await other.execute(ours)).fetchone()) != (0,):  # noqa: ASYNC110 (the server knows)
                await asyncio.sleep(0.005)


async def cancelled(use: Use, database_url: str, *places: int, warm: bool) -> int:
    database = Database(database_url)
    if warm:
        await query(database)
    count = await interrupted(lambda: use(database), *places)  # type: ignore[arg-type,return-value]
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others, timeout=10)
    pool = database.engine.pool
    await database.close()
    assert pool.checkedout() == 0
    return count


@pytest.mark.parametrize("warm", [False, True], ids=["first connection", "pooled connection"])
@pytest.mark.parametrize("use", USES)
async def test_cancelled_anywhere(use: Use, warm: bool, stride: int, database_url: str) -> None:
    async with nothing_left_open(database_url):
        count = await cancelled(use, database_url, warm=warm)
    assert count > 2
    for place in range(1, count + 1, stride):
        async with nothing_left_open(database_url):
            await cancelled(use, database_url, place, warm=warm)


@pytest.mark.parametrize("use", USES)
async def test_cancelled_twice(use: Use, stride: int, database_url: str) -> None:
    """The second cancelling meets the cleaning up after the first."""
    count = await cancelled(use, database_url, warm=True)
    for place, later in itertools.product(range(1, count + 1, stride), (1, 3)):
        async with nothing_left_open(database_url):
            await cancelled(use, database_url, place, place + later, warm=True)


@pytest.mark.parametrize("also_cancelled", [False, True])
@pytest.mark.parametrize("use", [query, write])
async def test_the_pool_is_closed_while_a_query_runs(
    use: Use, also_cancelled: bool, stride: int, database_url: str
) -> None:
    """A service that stops closes its pool while a cancelled handler is still giving a connection back."""

    async def closed_at(place: int) -> int:
        database = Database(database_url)
        closing: list[asyncio.Task[None]] = []

        async def work() -> None:
            this = asyncio.current_task()
            assert this
            working.append(this)
            with contextlib.suppress(InterlockError):  # DATABASE_UNAVAILABLE, see the last test
                await use(database)

        def close() -> None:
            closing.append(asyncio.create_task(database.close()))
            if also_cancelled:
                working[0].cancel()

        working: list[asyncio.Task[object]] = []
        count = await interrupted(work, place, interrupt=close)
        await asyncio.gather(*closing)
        await database.close()
        return count

    count = await closed_at(0)
    assert count > 2
    for place in range(1, count + 1, stride):
        async with nothing_left_open(database_url):
            await closed_at(place)


async def test_a_query_that_outlives_the_pool_ends(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CLOSE_SECONDS", 0.05)
    async with nothing_left_open(database_url):
        database = Database(database_url)
        asked = asyncio.create_task(database.all(text("SELECT pg_sleep(1000)")))
        running = text("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(1000)'")
        while (await database.all(running))[0][0] != 1:
            pass
        await database.close()
        with pytest.raises(InterlockError) as told:
            await asked
        assert told.value.reason is Reason.DATABASE_UNAVAILABLE
        await _end_sleepers(database_url)


async def _end_sleepers(database_url: str) -> None:
    """The server does not look at its socket while it sleeps."""
    end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
    async with await psycopg.AsyncConnection.connect(
        database_url.replace("+psycopg", ""), autocommit=True
    ) as other:
        await other.execute(end)


async def test_a_closed_database_opens_nothing_again(database_url: str) -> None:
    async with nothing_left_open(database_url):
        database = Database(database_url)
        await query(database)
        await database.close()
        for use in (query, write, connection):
            with pytest.raises(InterlockError) as told:
                await use(database)
            assert told.value.reason is Reason.DATABASE_UNAVAILABLE


async def cancelled_after(database: Database, seconds: float) -> None:
    """More queries than the pool has places: some wait for one, some open theirs, some are answered."""
    tasks = [asyncio.create_task(use(database)) for use in (query, write) * 6]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_many_at_once_are_cancelled_at_any_moment(database_url: str) -> None:
    async with nothing_left_open(database_url):
        database = Database(database_url, pool=2)
        for moment in range(60):
            await cancelled_after(database, moment / 4000)
        await database.close()
        assert database.engine.pool.checkedout() == 0
