"""Absurd: workers claim tasks from PostgreSQL; four connections, as the SDK serialises on one."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from typing import Any

import psycopg
from absurd_sdk import AsyncAbsurd
from meter import DSN, Meter, Tally, arguments, deciles, effect, effects, percentiles, report, window

QUEUE = "bench"
tally, ends = Tally(), list[float]()


def register(app: Any) -> None:
    @app.register_task("steps")
    async def steps(given: dict[str, Any], ctx: Any) -> int:
        async def work() -> Any:
            tally.steps += 1
            return os.urandom(512).hex() if given.get("kilobyte") else 1

        for _ in range(given["steps"]):
            await ctx.step("step", work)
            if given.get("times"):
                ends.append(time.perf_counter())
        return 1

    @app.register_task("slow", default_max_attempts=5)
    async def slow(given: dict[str, Any], ctx: Any) -> int:
        for n in range(given["steps"]):

            async def work(n: int = n) -> int:
                effect(given["run"], n)
                await asyncio.sleep(given["pause"])
                return n

            await ctx.step("step", work)
        return 1

    @app.register_task("asks")
    async def asks(given: dict[str, Any], ctx: Any) -> int:
        signalled = await ctx.await_event(f"decision:{given['n']}")

        async def work() -> int:
            return 1

        await ctx.step("after", work)
        ends.append(time.time() - signalled)
        return 1


async def work(concurrency: int, connections: int = 4, claim: int = 120) -> None:
    apps = [AsyncAbsurd(DSN, queue_name=QUEUE) for _ in range(connections)]
    for app in apps:
        register(app)
    each = max(1, concurrency // connections)
    await asyncio.gather(*(app.start_worker(concurrency=each, claim_timeout=claim) for app in apps))


async def prepared() -> Any:
    from absurdctl import BUNDLED_SCHEMA_SQL

    with psycopg.connect(DSN, autocommit=True) as connection:
        connection.execute(BUNDLED_SCHEMA_SQL)
    app = AsyncAbsurd(DSN, queue_name=QUEUE)
    register(app)
    await app.create_queue(QUEUE)
    return app


def done(state: str = "completed") -> int:
    with psycopg.connect(DSN) as connection:
        row = connection.execute(
            f"SELECT count(*) FROM absurd.t_{QUEUE} WHERE state = %s", [state]
        ).fetchone()
    return int(row[0]) if row else 0


async def throughput(app: Any, given: dict[str, Any]) -> None:
    # Tasks are queued before the clock starts: an advantage over the engines that are asked for each run.
    tasks = int((given["warm"] + given["seconds"]) * 4000 / given["steps"]) + given["runs"]
    for _ in range(tasks):
        await app.spawn("steps", {"steps": given["steps"]}, queue=QUEUE)
    worker = asyncio.create_task(work(given["runs"]))
    found = await window(Meter([os.getpid()]), given, lambda: tally.steps)
    assert not worker.done()
    assert done() < tasks, "ran out of tasks"
    report(found)


async def long_run(app: Any, given: dict[str, Any]) -> None:
    await app.spawn("steps", {**given, "times": True}, queue=QUEUE)
    meter = Meter([os.getpid()])
    meter.start()
    began = time.perf_counter()
    worker = asyncio.create_task(work(1, 1, 3600))
    while len(ends) < given["steps"]:
        assert not worker.done()
        await asyncio.sleep(0.05)
    if given.get("kilobyte"):
        report({**meter.stop(given["steps"]), "deciles_ms": deciles(ends, began)})
    skip = ends[50:]
    report(percentiles([b - a for a, b in pairwise(skip)]))


async def approval(app: Any, given: dict[str, Any]) -> None:
    worker = asyncio.create_task(work(10, 1))
    for n in range(given["decisions"]):
        await app.spawn("asks", {"n": n}, queue=QUEUE)
        while not await asyncio.to_thread(done, "sleeping"):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.02 * (n % 13))
        await app.emit_event(f"decision:{n}", time.time(), queue_name=QUEUE)
        while len(ends) <= n:
            assert not worker.done()
            await asyncio.sleep(0.005)
    report({"decision_to_durable": percentiles(ends)})


async def recovery(app: Any, given: dict[str, Any]) -> None:
    for run in range(given["runs"]):
        await app.spawn("slow", {**given, "run": run}, queue=QUEUE)

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, __file__, "worker", json.dumps({"runs": given["runs"]})])

    worker = start()
    while effects()[0] < given["kill_after"]:
        await asyncio.sleep(0.05)
    worker.kill()
    worker.wait()
    killed, before = time.perf_counter(), effects()[0]
    worker = start()
    while done() < given["runs"] and time.perf_counter() - killed < given["limit"]:
        await asyncio.sleep(0.1)
    ended = done()
    worker.kill()
    report({"seconds": time.perf_counter() - killed, "done": ended, "before": before, "twice": effects()[1]})


async def main() -> None:
    measure, given = arguments()
    if measure == "worker":
        await work(given["runs"], claim=10)
        return
    app = await prepared()
    table = {"throughput": throughput, "idle": long_run, "growth": long_run, "approval": approval}
    await {**table, "recovery": recovery}[measure](app, given)


asyncio.run(main())
