from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from tests.support.store import IDLE, START, append, approval

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.journal import Journal
from interlock.orchestrator.store.readers import approvals, events, others, runs
from interlock.orchestrator.store.records import NewRun


async def test_runs_page_newest_first_with_filters(journal: Journal, database: Database) -> None:
    for n in range(12):
        new = NewRun("g", workspace_id=f"ws-{n % 2}", labels={"team": "ab"[n % 2], "n": str(n % 3)})
        await journal.append(
            append(f"run-{n:02}", 0, create=new, head=IDLE if n % 4 == 0 else append("x", 1).head)
        )
    first = await runs.list_runs(database, limit=5)
    rest = await runs.list_runs(database, after=first[-1].id, limit=50)
    assert [row.id for row in first + rest] == [f"run-{n:02}" for n in reversed(range(12))]

    async def ids(**filters: Any) -> list[int]:
        return [int(row.id[4:]) for row in await runs.list_runs(database, **filters)]

    assert await ids(states=["AWAITING_APPROVAL"]) == [8, 4, 0]
    assert await ids(states=["RUNNING", "AWAITING_APPROVAL"], workspace_id="ws-1") == [11, 9, 7, 5, 3, 1]
    assert await ids(labels={"team": "a", "n": "0"}) == [6, 0]
    assert await ids(labels={"team": "none"}) == []
    assert set(await runs.heads(database, ["run-03", "run-99"])) == {"run-03"}


async def test_what_is_not_there_is_said(database: Database) -> None:
    assert await runs.find(database, "run-x") is None
    for use, reason in (
        (runs.get(database, "run-x"), Reason.RUN_NOT_FOUND),
        (approvals.get(database, "apr-x"), Reason.APPROVAL_NOT_FOUND),
        (others.workspace(database, "ws-x"), Reason.WORKSPACE_NOT_FOUND),
    ):
        with pytest.raises(InterlockError) as caught:
            await use
        assert caught.value.reason is reason
    assert await others.payload(database, b"\0" * 32) is None
    assert await events.position(database) == 0


async def test_pending_approvals_page_and_expire(journal: Journal, database: Database) -> None:
    opened = tuple(
        approval(n, step=n, expires_at=START + timedelta(minutes=10 - n) if n % 2 else None) for n in range(6)
    )
    await journal.append(append("run-a", 0, approvals=opened[:4]))
    await journal.append(append("run-b", 0, approvals=opened[4:]))
    first = await approvals.pending(database, limit=4)
    assert [row.step for row in first] == [0, 1, 2, 3]
    assert [row.step for row in await approvals.pending(database, after=first[-1].id)] == [4, 5]
    assert [row.step for row in await approvals.pending(database, run_id="run-b")] == [4, 5]
    assert [row.step for row in await approvals.of_run(database, "run-a", step=2)] == [2]
    late = await approvals.overdue(database, START + timedelta(minutes=7))
    assert [row.step for row in late] == [5, 3]
    await journal.append(append("run-b", 1, approvals=(approval(5, "expired", step=5),)))
    left = await approvals.overdue(database, START + timedelta(minutes=7))
    assert [row.step for row in left] == [3]


async def test_old_requests_are_forgotten(database: Database) -> None:
    for name, age in (("oldest", "40 days"), ("old", "31 days"), ("new", "29 days")):
        insert = f"INSERT INTO requests VALUES ('M', '{name}', 'f', 'r', now() - interval '{age}')"
        await database.write(text(insert))
    assert await others.forget_requests(database, timedelta(days=30), limit=1) == 1
    assert await others.recorded(database, "M", "oldest", b"f") is None
    assert await others.forget_requests(database, timedelta(days=30)) == 1
    assert await others.recorded(database, "M", "old", b"f") is None
    assert await others.recorded(database, "M", "new", b"f") == b"r"


async def test_a_session_that_died_in_the_pool_is_not_noticed(journal: Journal, database: Database) -> None:
    await journal.append(append("run-a", 0))
    await asyncio.gather(*(events.position(database) for _ in range(4)))
    end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
    async with database.engine.connect() as connection:
        await connection.execute(text(f"{end} AND pid <> pg_backend_pid()"))
        assert await events.position(database) == 1


QUERIES = {
    "run": "SELECT * FROM runs WHERE id = 'run-5'",
    "newest runs": "SELECT * FROM runs ORDER BY id DESC LIMIT 50",
    "runs by state": "SELECT * FROM runs WHERE state IN ('PAUSED') ORDER BY id DESC LIMIT 50",
    "runs of a workspace": "SELECT * FROM runs WHERE workspace_id = 'ws-5' ORDER BY id DESC LIMIT 50",
    "runs by label": """SELECT * FROM runs WHERE labels @> '{"n": "5"}' ORDER BY id DESC LIMIT 50""",
    "runs to claim": "SELECT id FROM runs WHERE needs_driver ORDER BY id LIMIT 10",
    "runs of an owner": "SELECT id, epoch FROM runs WHERE lease_owner = 'one'",
    "events": "SELECT * FROM journal WHERE run_id = 'run-5' AND seq > 3 ORDER BY seq LIMIT 100",
    "feed": "SELECT * FROM journal WHERE position > 30000 ORDER BY position LIMIT 100",
    "pending": "SELECT * FROM approvals WHERE state = 'pending' AND id > '' ORDER BY id LIMIT 100",
    "overdue": """SELECT * FROM approvals WHERE state = 'pending' AND expires_at IS NOT NULL
                   AND expires_at <= now() ORDER BY expires_at LIMIT 100""",
}


async def test_hot_queries_use_indexes(database: Database) -> None:
    """At 20,000 runs and 40,000 events no query that people or drivers make reads a whole table."""
    for fill in (
        """INSERT INTO runs SELECT 'run-' || n, CASE WHEN n % 500 = 0 THEN 'PAUSED' ELSE 'COMPLETED' END,
           'ws-' || n % 1000, 'g', jsonb_build_object('n', (n % 900)::text), '{}', now(), now(), 1, '', n, 0,
           CASE WHEN n % 700 = 0 THEN 'one' END, n % 700 = 0 FROM generate_series(1, 20000) n""",
        """INSERT INTO journal SELECT 'run-' || (n + 1) / 2, n % 2 + 1, n, 't', NULL, now(), '', ''
           FROM generate_series(1, 40000) n""",
        """INSERT INTO approvals SELECT 'apr-' || n, 'run-1', 1, 1, 'effect', '',
           CASE WHEN n % 900 = 0 THEN 'pending' ELSE 'approved' END, now(), now() FROM generate_series(1, 20000) n""",
    ):
        await database.write(text(fill.replace(":", r"\:")))
    async with database.engine.connect() as connection:
        await (await connection.execution_options(isolation_level="AUTOCOMMIT")).exec_driver_sql("ANALYZE")
    for name, query in QUERIES.items():
        plan = "\n".join(row[0] for row in await database.all(text(f"EXPLAIN {query}".replace(":", r"\:"))))
        assert "Seq Scan" not in plan, f"{name}:\n{plan}"
