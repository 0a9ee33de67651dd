"""Who is gone is seen by a lock that ends with its connection, and by nothing else before its time."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from tests.support.store import append

from interlock.orchestrator.store import leases, turns
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.journal import Journal
from interlock.orchestrator.store.presence import Presence

LONG = 3600.0
SECONDS = 30.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - tasks of their own
            await asyncio.sleep(0.01)


@asynccontextmanager
async def present(database: Database, owner: str) -> AsyncIterator[Presence]:
    """It has its lock, and its heartbeat says so."""
    presence = Presence(database, owner, lambda: None)
    await presence.start()
    try:
        await until(lambda: presence.server is not None)
        await leases.renew(database, owner, LONG, presence.server)
        yield presence
    finally:
        await presence.close()


async def left_behind(database: Database, owner: str) -> None:
    """A heartbeat that goes on for long, of one whose connection has ended."""
    async with present(database, owner):
        pass


async def owners(database: Database) -> set[str]:
    return {row[0] for row in await database.all(text("SELECT owner FROM drivers"))}


async def buried(database: Database, owner: str) -> None:
    """Waits until its heartbeat was ended by another one."""
    async with asyncio.timeout(SECONDS):
        while owner in await owners(database):  # noqa: ASYNC110 - another task
            await asyncio.sleep(0.01)


async def test_runs_of_one_that_is_gone_can_be_claimed_at_once(journal: Journal, database: Database) -> None:
    await journal.append(append("run-a", 0))
    async with present(database, "gone"):
        assert len(await leases.claim(database, "gone", LONG)) == 1
    assert await leases.claim(database, "here", LONG) == [], "its heartbeat goes on"
    async with present(database, "here"):
        await buried(database, "gone")
    assert await leases.claim(database, "here", LONG) == [leases.Claimed("run-a", 2, 1, "RUNNING")]


async def test_nobody_else_is_taken_for_gone(database: Database) -> None:
    """Not who lives, nor who has no lock, nor whose lock was on another server, nor a turn."""
    await leases.renew(database, "without", LONG)
    await leases.renew(database, "before the restart", LONG)
    await database.write(
        text("UPDATE drivers SET server = pg_postmaster_start_time() - interval '1 s' WHERE owner = :owner")
        .bindparams(owner="before the restart")
    )  # fmt: skip
    assert await turns.take(database, "turn", LONG)
    await left_behind(database, "gone")
    async with present(database, "living"), present(database, "looks") as looks:
        await buried(database, "gone")
        assert not looks.alone
        found = await owners(database)
    assert found == {"without", "before the restart", "turn", "living", "looks"}


async def test_who_is_alone_knows_it(database: Database) -> None:
    assert await turns.take(database, "turn", LONG)
    async with present(database, "first") as first:
        await until(lambda: first.alone)
        async with present(database, "second"):
            await until(lambda: not first.alone)
        await until(lambda: first.alone)
    assert not first.alone, "that is not known without a connection"


async def test_one_whose_connection_is_ended_takes_its_lock_again(database: Database) -> None:
    end = text("""
SELECT pg_terminate_backend(pid, 10000) FROM pg_locks
 WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND (classid::bigint << 32 | objid::bigint) = hashtextextended('driver cut', 0)
""")
    seen: list[object] = []
    presence = Presence(database, "cut", lambda: seen.append(presence.server))
    await presence.start()
    await until(lambda: presence.server is not None)
    await leases.renew(database, "cut", LONG, presence.server)
    async with present(database, "other"):
        assert [row[0] for row in await database.all(end)] == [True]
        await until(lambda: len(seen) >= 3)
        assert seen[1] is None, "it was told that its lock is lost"
        assert seen[0] == seen[2] == presence.server
        await left_behind(database, "gone")
        await buried(database, "gone")
        assert "cut" in await owners(database), "it is there again: the lock is held"
    await presence.close()


@pytest.fixture
async def pooled(database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    """Behind something that tells clients a process id of its own, as poolers do."""
    url = make_url(database_url)
    host = str(url.query.get("host") or url.host)
    port = int(str(url.query.get("port") or url.port or 5432))
    links: set[asyncio.Task[None]] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, renames: bool) -> None:
        key = struct.pack("!cI", b"K", 12)
        try:
            while data := await reader.read(1 << 16):
                if renames and (at := data.find(key)) >= 0:
                    data = data[: at + 5] + struct.pack("!I", os.getpid()) + data[at + 9 :]
                    renames = False
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # one side has gone: so does the other
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if host.startswith("/"):
            there = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            there = await asyncio.open_connection(host, port)
        for task in (relay(reader, there[1], False), relay(there[0], writer, True)):
            links.add(asyncio.create_task(task))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    at = server.sockets[0].getsockname()[1]
    query = {name: value for name, value in url.query.items() if name not in ("host", "port")}
    through = url.set(host="127.0.0.1", port=at, query=query)
    opened = Database(through.render_as_string(hide_password=False))
    yield opened
    await opened.close()
    server.close()
    await asyncio.gather(*links)


async def test_behind_a_pooler_time_alone_counts(
    pooled: Database, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    presence = Presence(pooled, "pooled", lambda: None)
    await presence.start()
    await until(lambda: "a pooler keeps" in caplog.text)
    assert presence.server is None
    assert not presence.alone
    await leases.renew(pooled, "pooled", LONG, presence.server)
    await left_behind(database, "gone")
    async with present(database, "looks"):
        await buried(database, "gone")
        assert "pooled" in await owners(database)
    await presence.close()
