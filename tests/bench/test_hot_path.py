"""The hot path as ratios within one run: durable steps a second against what this PostgreSQL can commit.

The orchestrator is real (gRPC, journal, hash chain, leases); the executor is scripted, so that what is measured is
the engine and not the sandbox. Figures of one machine mean little: compare the ratios. Nothing here asserts a time.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import aclosing
from itertools import pairwise

import psycopg
import pytest
from tests.integration.conftest import libpq
from tests.support.orchestrator import Running, create, executor_server, orchestrator, read, until
from tests.support.scripted_executor import Script, ScriptedExecutor

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]
STEPS = 10


async def commits_per_second(database_url: str, seconds: float = 2.0) -> float:
    """One-row transactions on one connection: the floor under an engine that commits once a transition."""
    async with await psycopg.AsyncConnection.connect(libpq(database_url), autocommit=True) as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS bench (n int)")
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            await connection.execute("INSERT INTO bench VALUES (1)")
            count += 1
        return count / (time.perf_counter() - started)


async def steps_per_second(running: Running, concurrent: int) -> float:
    """`concurrent` runs of STEPS trivial steps, from the first CreateRun to the last completion."""
    position = running.deps.feed.position
    started = time.perf_counter()
    creating = asyncio.gather(*(create(running.stub, *[read()] * STEPS) for _ in range(concurrent)))
    completed = 0
    async with aclosing(running.deps.feed.tail(position)) as tail:
        async for rows in tail:
            completed += sum(row.type == "run.completed" for row in rows)
            if completed == concurrent:
                break
    await creating
    return concurrent * STEPS / (time.perf_counter() - started)


async def idle_step_seconds(running: Running) -> float:
    """Median time of a step of a lone run, by the journal's clock."""
    run = await create(running.stub, *[read()] * 50)
    run = await until(running.stub, run.run_id, "COMPLETED")
    ends = [step.ended_at.ToDatetime().timestamp() for step in run.steps]
    return statistics.median(after - before for before, after in pairwise(ends))


async def test_durable_steps(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    fake = ScriptedExecutor(Script())
    async with executor_server(fake) as executor, orchestrator(database_url, executor) as running:
        await steps_per_second(running, 5)
        commits = await commits_per_second(database_url)
        rows = [(n, await steps_per_second(running, n)) for n in (1, 20, 50, 200)]
        idle = await idle_step_seconds(running)
    with capsys.disabled():
        print(f"\none-row commits/s on one connection: {commits:,.0f}")
        for concurrent, rate in rows:
            print(
                f"{concurrent:4d} runs: {rate:8,.0f} durable steps/s = {rate / commits:5.2f} x one-row commits"
            )
        print(f"idle step, median: {idle * 1000:.2f} ms = {idle * commits:.2f} one-row commits")
    assert all(rate > 0 for _, rate in rows)
