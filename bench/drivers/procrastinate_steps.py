"""Procrastinate: a queue of jobs; a step is a job that defers the next one."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from itertools import pairwise
from typing import Any

import procrastinate
from meter import DSN, Meter, Tally, arguments, percentiles, report, window

logging.disable(logging.WARNING)
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=DSN, max_size=20))
tally, ends = Tally(), list[float]()


@app.task(queue="bench")
async def step(left: int) -> None:
    tally.steps += 1
    ends.append(time.perf_counter())
    if left > 1:
        await step.defer_async(left=left - 1)


async def throughput(given: dict[str, Any]) -> None:
    # Chains are queued before the clock starts.
    chains = int((given["warm"] + given["seconds"]) * 1000 / given["steps"]) + given["runs"]
    for _ in range(chains):
        await step.defer_async(left=given["steps"])
    working = asyncio.create_task(
        app.run_worker_async(queues=["bench"], concurrency=given["runs"], install_signal_handlers=False)
    )
    found = await window(Meter([os.getpid()]), given, lambda: tally.steps)
    assert not working.done()
    assert tally.steps < chains * given["steps"], "ran out of jobs"
    report(found)


async def idle(given: dict[str, Any]) -> None:
    working = asyncio.create_task(
        app.run_worker_async(queues=["bench"], concurrency=1, install_signal_handlers=False)
    )
    await step.defer_async(left=given["steps"])
    while len(ends) < given["steps"]:
        assert not working.done()
        await asyncio.sleep(0.05)
    kept = ends[50:]
    report(percentiles([b - a for a, b in pairwise(kept)]))


async def main() -> None:
    measure, given = arguments()
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await {"throughput": throughput, "idle": idle}[measure](given)


asyncio.run(main())
