from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from tests.support.store import append

from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.feed import Feed
from interlock.orchestrator.store.journal import Journal
from interlock.orchestrator.store.notifier import Notifier
from interlock.orchestrator.store.readers import events
from interlock.orchestrator.store.records import FeedRow

ROOT = Path(__file__).parents[4]


@asynccontextmanager
async def following(
    database: Database, journal: Journal | None = None, **options: float
) -> AsyncIterator[Feed]:
    feed = Feed(database, **options)  # type: ignore[arg-type]
    await feed.start()
    stop = journal.on_flush(feed.on_flush) if journal else lambda: None
    yield feed
    stop()
    await feed.close()


@asynccontextmanager
async def writer(url: str, prefix: str, runs: int) -> AsyncIterator[Process]:
    arguments = ("-m", "tests.support.store_writer", url, prefix, str(runs))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=PIPE, stdout=PIPE, cwd=ROOT, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert process.stdout
    assert await process.stdout.readline() == b"ready\n"
    yield process
    if process.returncode is None:
        process.kill()
        await process.wait()


async def finish(process: Process) -> int:
    output, _ = await process.communicate(b"")
    assert process.returncode == 0
    return int(output)


async def take(tail: AsyncIterator[Sequence[FeedRow]], count: int) -> list[FeedRow]:
    found: list[FeedRow] = []
    async with asyncio.timeout(90):
        while len(found) < count:
            found.extend(await anext(tail))
    return found


@pytest.mark.parametrize("reader", ["query", "tail"])
async def test_no_gap_and_no_reorder_under_two_flushers_in_two_processes(
    reader: str, database: Database, database_url: str
) -> None:
    """Whoever has seen position n has seen all below it, at every moment while two processes write."""
    async with writer(database_url, "a", 20) as one, writer(database_url, "b", 20) as two:
        async with following(database, window=200, poll=0.2) as feed:
            last, reads = 0, 0
            async with aclosing(feed.tail(0, idle=5)) as tail:
                while last < 1500 or reads < 20:
                    rows = await anext(tail) if reader == "tail" else await events.of_feed(database, last)
                    assert [row.position for row in rows] == list(range(last + 1, last + 1 + len(rows)))
                    last += len(rows)
                    reads += bool(rows)
        written = await finish(one) + await finish(two)
    assert await events.position(database) == written
    seen: dict[str, int] = {}
    position = 0
    while rows := await events.of_feed(database, position):
        position = rows[-1].position
        for row in rows:
            assert row.seq == seen.get(row.run_id, 0) + 1, "within a run, position follows seq"
            seen[row.run_id] = row.seq
    assert position == sum(seen.values()) == written
    assert {name[0] for name in seen} == {"a", "b"}


async def test_a_tail_starts_in_the_past_and_goes_on(journal: Journal, database: Database) -> None:
    await journal.append(append("run-a", 0, 5))
    async with following(database, journal) as feed, aclosing(feed.tail(2)) as tail:
        assert [row.seq for row in await take(tail, 3)] == [3, 4, 5]
        task = asyncio.create_task(take(tail, 4))
        await journal.append(append("run-a", 5, 3))
        await journal.append(append("run-b", 0, 1))
        assert [(row.run_id, row.position) for row in await task] == [
            *(("run-a", n) for n in (6, 7, 8)),
            ("run-b", 9),
        ]


async def test_own_events_cost_no_query(journal: Journal, database: Database) -> None:
    async with following(database, journal, poll=60) as feed, aclosing(feed.tail(0)) as tail:
        await asyncio.wait_for(feed._listener.connected.wait(), 10)
        await journal.append(append("run-a", 0))
        await take(tail, 1)
        await database.close()  # from here on a query would fail
        for seq in range(1, 50):
            await journal.append(append("run-a", seq))
            assert [row.seq for row in await take(tail, 1)] == [seq + 1]


async def test_a_slow_tail_reads_what_has_left_the_window(journal: Journal, database: Database) -> None:
    async with following(database, journal, window=10) as feed, aclosing(feed.tail(0)) as tail:
        for seq in range(0, 3000, 100):
            await journal.append(append("run-a", seq, 100))
        assert len(feed._rows) < 200
        assert [row.seq for row in await take(tail, 3000)] == list(range(1, 3001))


async def test_silence_is_told(database: Database) -> None:
    async with following(database) as feed, aclosing(feed.tail(0, idle=0.01)) as tail:
        assert list(await anext(tail)) == []
    async with following(database) as feed:
        run_tail = aiter(feed.run_tail("run-none", 0, idle=0.01))
        assert list(await anext(run_tail)) == []


async def test_a_run_tail_gives_only_its_run(journal: Journal, database: Database) -> None:
    await journal.append(append("run-a", 0, 3))
    async with following(database, journal) as feed:
        tail = aiter(feed.run_tail("run-a", 1))
        assert [row.seq for row in await take(tail, 2)] == [2, 3]
        await journal.append(append("run-b", 0))
        await journal.append(append("run-a", 3, 2))
        assert [(row.run_id, row.seq) for row in await take(tail, 2)] == [("run-a", 4), ("run-a", 5)]
        # Far more than is kept for a tail that does not read: the journal fills the gap.
        for seq in range(5, 3005, 100):
            await journal.append(append("run-a", seq, 100))
        assert [row.seq for row in await take(tail, 3000)] == list(range(6, 3006))
        await tail.aclose()  # type: ignore[attr-defined]
        assert feed._runs == {}


async def test_another_replicas_events_arrive_by_notification(
    journal: Journal, database: Database, database_url: str
) -> None:
    other = Database(database_url)
    notifier = Notifier(database)
    await notifier.start()
    journal.on_flush(notifier.hint)
    async with following(other, poll=3600) as feed, aclosing(feed.tail(0)) as tail:
        await asyncio.wait_for(feed._listener.connected.wait(), 10)
        for seq in range(20):
            await journal.append(append("run-a", seq))
            assert [row.seq for row in await take(tail, 1)] == [seq + 1]
    await notifier.close()
    await other.close()


async def test_polling_finds_what_was_not_notified(journal: Journal, database: Database) -> None:
    async with following(database, poll=0.05) as feed, aclosing(feed.tail(0)) as tail:
        await journal.append(append("run-a", 0))
        assert [row.seq for row in await take(tail, 1)] == [1]


async def test_the_listener_resumes_after_its_session_is_ended(
    journal: Journal, database: Database, database_url: str
) -> None:
    async with following(database, poll=3600) as feed, aclosing(feed.tail(0)) as tail:
        await asyncio.wait_for(feed._listener.connected.wait(), 10)
        await journal.append(append("run-a", 0))  # nobody notifies, and the next poll is an hour away
        assert feed.position == 0
        end = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = "
        )
        async with await psycopg.AsyncConnection.connect(
            database_url.replace("+psycopg", ""), autocommit=True
        ) as killer:
            ended = await (await killer.execute(f"{end} '{killer.info.dbname}'")).fetchall()
        assert ended == [(True,)]
        # The new connection looks for what was missed.
        assert [row.seq for row in await take(tail, 1)] == [1]


async def test_mixed_sources_make_one_sequence(
    journal: Journal, database: Database, database_url: str
) -> None:
    """Own flushes enter directly, another process's through the database: the tail cannot tell."""
    async with writer(database_url, "far", 5) as process:
        async with following(database, journal, window=200) as feed, aclosing(feed.tail(0)) as tail:
            near = asyncio.create_task(_write(journal, 50))
            rows = await take(tail, 500)
            await near
            rows += await take(tail, 1)
        await finish(process)
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))
    assert {row.run_id.split("-")[0] for row in rows} == {"far", "near"}


async def _write(journal: Journal, count: int) -> None:
    for seq in range(count):
        await journal.append(append("near-1", seq))
