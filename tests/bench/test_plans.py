"""The queries that people and services make, on a database with 1,000,000 events: each finds what it wants by an index.

Every statement that a real orchestrator sends while it is asked is explained with its own parameters. It must not
read a large table from end to end, nor look at many more rows than it answers with. Times are printed, not judged.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from sqlalchemy import event
from tests.integration.conftest import libpq
from tests.support import filled
from tests.support.orchestrator import Running, executor_server, orchestrator
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.orchestrator.store import leases
from interlock.v1 import orchestrator_pb2 as o

pytestmark = [pytest.mark.bench, pytest.mark.torture, pytest.mark.timeout(900)]
EVENTS = int(os.environ.get("BENCH_EVENTS", "1000000"))
LARGE = {"journal", "runs", "approvals", "payloads"}
MOST_ROWS = 5_000
"""A page has at most 1,000 rows; a filter may look at some that it does not take."""


@dataclass
class Asked:
    """Statements with their parameters, and how long the question took."""

    statements: list[tuple[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


class Listening:
    """Hears what the orchestrator's pool is asked, by question."""

    def __init__(self, running: Running) -> None:
        self.questions: dict[str, Asked] = {}
        self._now: Asked | None = None
        event.listen(running.deps.database.engine.sync_engine, "before_cursor_execute", self._hear)

    def _hear(self, _c: Any, _k: Any, statement: str, parameters: Any, _x: Any, _many: bool) -> None:
        if self._now is not None:
            self._now.statements.append((statement, parameters))

    @asynccontextmanager
    async def question(self, name: str) -> AsyncIterator[None]:
        self._now = self.questions[name] = Asked()
        began = time.perf_counter()
        yield
        self._now.seconds = time.perf_counter() - began
        self._now = None


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def looked_at(node: dict[str, Any]) -> float:
    """Rows that a scan has read, those that it threw away included."""
    removed = sum(value for name, value in node.items() if name.startswith("Rows Removed by"))
    return float((node.get("Actual Rows", 0) + removed) * node.get("Actual Loops", 1))


def faults(connection: psycopg.Connection[Any], statement: str, parameters: Any) -> list[str]:
    """What is wrong with the plan of a statement."""
    with connection.transaction(force_rollback=True):
        row = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).fetchone()
    assert row is not None
    found = []
    for node in nodes(row[0][0]["Plan"]):
        table = node.get("Relation Name")
        if node["Node Type"].endswith("Seq Scan") and table in LARGE:
            found.append(f"reads all of {table}: {statement[:300]}")
        if looked_at(node) > MOST_ROWS:
            found.append(f"{node['Node Type']} looks at {looked_at(node):,.0f} rows: {statement[:300]}")
    return found


async def ask(running: Running, heard: Listening, runs: int) -> None:
    """One of each question."""
    stub, database = running.stub, running.deps.database
    newest, middle = filled.run_id(runs - 1), filled.run_id(runs // 2)
    listings: dict[str, dict[str, Any]] = {
        "list": {},
        "list, failed": {"states": ["RUN_STATE_FAILED"]},
        "list, running (there is none)": {"states": ["RUN_STATE_RUNNING"]},
        "list, of a workspace": {"workspace_id": "ws-17"},
        "list, of a label": {"labels": {"n": str(runs // 3)}},
        "list, of a frequent label": {"labels": {"team": "t7"}},
    }
    for name, given in listings.items():
        async with heard.question(name):
            await stub.ListRuns(o.ListRunsRequest(page_size=100, **given))
    async with heard.question("list, next page"):
        first = await stub.ListRuns(o.ListRunsRequest(page_size=100))
        page = await stub.ListRuns(o.ListRunsRequest(page_size=100, page_token=first.next_page_token))
        assert page.runs
    async with heard.question("get"):
        assert (await stub.GetRun(o.GetRunRequest(run_id=middle))).run.steps
    async with heard.question("get by the beginning of its id"):
        await stub.ListRuns(o.ListRunsRequest(page_size=2, run_id_prefix=newest[:28]))
    async with heard.question("events"):
        page = await stub.ListEvents(o.ListEventsRequest(run_id=middle, page_size=1000))
        assert len(page.events) > filled.STEPS
    async with heard.question("watch"):
        call = stub.WatchRun(o.WatchRunRequest(run_id=newest, without_output=True))
        assert (await call.read()).run.run_id == newest
        call.cancel()
    async with heard.question("pending"):
        approvals = o.ListApprovalRecordsRequest(page_size=100)
        assert (await stub.ListApprovalRecords(approvals)).approvals
    async with heard.question("pending of a run"):
        await stub.ListApprovalRecords(o.ListApprovalRecordsRequest(filter={"run_id": newest}))
    async with heard.question("feed from now"):
        call = stub.WatchApprovals(o.WatchApprovalsRequest())
        await call.read()
        call.cancel()
    async with heard.question("heartbeat and claim"):
        await leases.renew(database, "nobody", 1.0)
        await leases.claim(database, "nobody", 1.0)
    async with heard.question("cost"):
        await stub.GetCost(o.GetCostRequest(run_id=middle))


async def test_no_query_reads_a_large_table_from_end_to_end(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = libpq(database_url)
    began = time.perf_counter()
    runs = await asyncio.to_thread(filled.fill, url, EVENTS)
    filling = time.perf_counter() - began
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as running,
    ):
        heard = Listening(running)
        await ask(running, heard, runs)
    found = []
    with psycopg.connect(url, autocommit=True) as connection:
        for name, asked in heard.questions.items():
            assert asked.statements, f"{name} asked nothing"
            for statement, parameters in asked.statements:
                found += [f"{name}: {fault}" for fault in faults(connection, statement, parameters)]
    with capsys.disabled():
        print(f"\n{EVENTS:,} events of {runs:,} runs, written in {filling:.0f} s")
        for name, asked in heard.questions.items():
            print(f"{name:32} {asked.seconds * 1e3:8.1f} ms, {len(asked.statements)} statements")
    assert not found, "\n".join(found)
