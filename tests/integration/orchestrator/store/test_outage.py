"""PostgreSQL dies or hangs up under the journal: what was acknowledged is there once; the unknown is resolved."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import socket
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.support.store import append

from interlock.common.errors import InterlockError, Reason
from interlock.common.postgres import EmbeddedPostgres
from interlock.orchestrator.store import migrate
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.errors import Conflict
from interlock.orchestrator.store.journal import Journal
from interlock.orchestrator.store.readers import events, runs


@pytest.fixture
def own_server() -> Iterator[EmbeddedPostgres]:
    directory = Path(tempfile.mkdtemp(prefix="interlock-out-"))
    directory.chmod(0o711)
    with EmbeddedPostgres(directory / "pg") as server:
        migrate.upgrade(server.url)
        yield server
    shutil.rmtree(directory)


@pytest.fixture
async def own_database(own_server: EmbeddedPostgres) -> AsyncIterator[Database]:
    database = Database(own_server.url)
    yield database
    await database.close()


class Writer:
    """Appends to one run until told to stop, remembering what it was told."""

    def __init__(self, journal: Journal, name: str) -> None:
        self.journal, self.name = journal, name
        self.seq = 0
        self.told: dict[int, bytes] = {}
        self.unknown = 0

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            wanted = append(self.name, self.seq, 2, salt=f',"try":{random.random()}')
            try:
                result = await self.journal.append(wanted)
            except Conflict as conflict:
                self.seq = conflict.current_seq  # an unknown one had been written after all
                continue
            except InterlockError as error:
                if error.reason is not Reason.DATABASE_UNAVAILABLE:
                    raise
                self.unknown += error.metadata["outcome"] == "unknown"
                await asyncio.sleep(0.05)
                continue
            self.told |= {event.seq: event.hash for event in wanted.events}
            self.seq = result.seq


async def check(database: Database, writers: list[Writer]) -> None:
    """Every acknowledged event is there exactly once; runs and feed have no gap."""
    stored: dict[str, dict[int, bytes]] = {writer.name: {} for writer in writers}
    seen: Counter[tuple[str, int]] = Counter()
    position = 0
    while rows := await events.of_feed(database, position):
        assert [row.position for row in rows] == list(range(position + 1, rows[-1].position + 1))
        position = rows[-1].position
        seen.update((row.run_id, row.seq) for row in rows)
        for row in rows:
            stored[row.run_id][row.seq] = bytes(row.hash)
    assert position == await events.position(database)
    assert max(seen.values()) == 1
    for writer in writers:
        kept = stored[writer.name]
        assert sorted(kept) == list(range(1, len(kept) + 1))
        assert writer.told.items() <= kept.items()
        assert (await runs.get(database, writer.name)).seq == len(kept)


async def eventually(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 (other processes make it true)
            await asyncio.sleep(0.01)


async def test_kill_minus_nine_during_flushes(own_server: EmbeddedPostgres, own_database: Database) -> None:
    journal = Journal(own_database, patience=30)
    await journal.start()
    writers = [Writer(journal, f"run-{n:02}") for n in range(20)]
    stop = asyncio.Event()
    tasks = [asyncio.create_task(writer.run(stop)) for writer in writers]
    for _ in range(4):
        before = journal.flushes
        await eventually(lambda before=before: journal.flushes > before + 10)
        pid = own_server.pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: own_server.pid is None)
        await asyncio.to_thread(own_server.start)
    before = journal.flushes
    await eventually(lambda before=before: journal.flushes > before + 10)
    stop.set()
    await asyncio.gather(*tasks)
    assert sum(writer.unknown for writer in writers) == 0, "the database came back in time: all was resolved"
    await check(own_database, writers)
    await journal.close()


async def test_without_patience_callers_learn_that_it_is_unknown(
    own_server: EmbeddedPostgres, own_database: Database
) -> None:
    journal = Journal(own_database, patience=0.05)
    await journal.start()
    writers = [Writer(journal, f"run-{n:02}") for n in range(10)]
    stop = asyncio.Event()
    tasks = [asyncio.create_task(writer.run(stop)) for writer in writers]
    await eventually(lambda: journal.flushes > 20)
    pid = own_server.pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: any(writer.unknown for writer in writers))
    with pytest.raises(InterlockError) as caught:
        await journal.append(append("run-new", 0))
    assert caught.value.metadata["outcome"] == "not_written"
    await asyncio.to_thread(own_server.start)
    before = journal.flushes
    await eventually(lambda before=before: journal.flushes > before + 10)
    stop.set()
    await asyncio.gather(*tasks)
    await check(own_database, writers)
    await journal.close()


async def test_hung_up_sessions(database: Database, database_url: str) -> None:
    """The server lives on; only the sessions are ended, again and again, at any moment of a flush."""
    journal = Journal(database, patience=30)
    await journal.start()
    writers = [Writer(journal, f"run-{n:02}") for n in range(10)]
    stop = asyncio.Event()
    tasks = [asyncio.create_task(writer.run(stop)) for writer in writers]
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
    async with await psycopg.AsyncConnection.connect(
        database_url.replace("+psycopg", ""), autocommit=True
    ) as killer:
        for _ in range(12):
            before = journal.flushes
            await eventually(lambda before=before: journal.flushes > before + 3)
            await killer.execute(end, (killer.info.dbname,))
    stop.set()
    await asyncio.gather(*tasks)
    await check(database, writers)
    await journal.close()


async def test_a_flush_that_is_still_running_is_ended_before_its_fate_is_read(
    database: Database, database_url: str
) -> None:
    """The connection breaks while the server still works on the flush: it must not commit behind our back."""
    journal = Journal(database, patience=30)
    await journal.start()
    await journal.append(append("run-a", 0))
    async with await psycopg.AsyncConnection.connect(database_url.replace("+psycopg", "")) as blocker:
        await blocker.execute("SELECT position FROM feed FOR UPDATE")
        task = asyncio.create_task(journal.append(append("run-a", 1)))
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"

        async def blocked() -> int:
            async with await psycopg.AsyncConnection.connect(database_url.replace("+psycopg", "")) as other:
                row = await (await other.execute(waiting, (other.info.dbname,))).fetchone()
                assert row
                return int(row[0])

        async with asyncio.timeout(30):
            while not await blocked():  # noqa: ASYNC110 (the server knows)
                await asyncio.sleep(0.01)
        driver = journal._link._driver
        assert driver
        # The network is gone; the server, waiting for a lock, does not look at its socket.
        with socket.socket(fileno=os.dup(driver.pgconn.socket)) as broken:
            broken.shutdown(socket.SHUT_RDWR)
        async with asyncio.timeout(30):
            while journal._link._driver is driver or not await blocked():  # noqa: ASYNC110 (the same)
                await asyncio.sleep(0.01)
        await blocker.rollback()
    assert (await task).position == 2
    assert [row.seq for row in await events.of_run(database, "run-a")] == [1, 2]
    await journal.close()


async def test_start_without_a_database_says_so() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(InterlockError) as caught:
        await Journal(database).start()
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
    with pytest.raises(InterlockError) as caught:
        await events.position(database)
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
    await database.close()


async def test_a_full_disk_is_an_outage_of_limited_length(database: Database, database_url: str) -> None:
    """The server answers, but every flush fails: callers are told, and nothing of it was written."""
    refuse = """
        CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = 'disk_full'; END $$;
        CREATE TRIGGER no_space BEFORE INSERT ON journal FOR EACH STATEMENT EXECUTE FUNCTION no_space()"""
    journal = Journal(database, patience=30)
    await journal.start()
    async with await psycopg.AsyncConnection.connect(
        database_url.replace("+psycopg", ""), autocommit=True
    ) as admin:
        await admin.execute(refuse)
        with pytest.raises(InterlockError) as caught:
            await journal.append(append("run-a", 0))
        assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
        assert caught.value.metadata["outcome"] == "not_written"
        assert await events.position(database) == 0
        await admin.execute("DROP TRIGGER no_space ON journal")
    assert (await journal.append(append("run-a", 0))).position == 1
    await journal.close()
