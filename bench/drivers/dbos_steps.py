"""DBOS Transact: asynchronous workflows in one process."""

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
from dbos import DBOS, DBOSClient, SetWorkflowID
from meter import DSN, Meter, Tally, arguments, deciles, effect, effects, load, percentiles, report, window

tally = Tally()


@DBOS.step()
async def step(size: int = 0) -> Any:
    tally.steps += 1
    return os.urandom(size // 2).hex() if size else 1


@DBOS.workflow()
async def steps(count: int, size: int = 0) -> list[float]:
    times = []
    for _ in range(count):
        await step(size)
        times.append(time.perf_counter())
    return times if count > 50 else []


@DBOS.step()
async def slow_step(run: int, n: int, pause: float) -> int:
    effect(run, n)
    await asyncio.sleep(pause)
    return n


@DBOS.workflow()
async def slow(run: int, count: int, pause: float) -> None:
    for n in range(count):
        await slow_step(run, n, pause)


@DBOS.workflow()
async def asks(count: int) -> list[float]:
    found = []
    for n in range(count):
        await DBOS.set_event_async(f"pending{n}", time.time())
        signalled = await DBOS.recv_async("decision", timeout_seconds=60)
        await step()
        found.append(time.time() - signalled)
    return found


def launch() -> None:
    DBOS(
        config={
            "name": "bench",
            "system_database_url": DSN,
            "log_level": "ERROR",
            "application_version": "1",
            "executor_id": "one",
            "run_admin_server": False,
        }
    )
    DBOS.launch()


async def result(function: Any, *given: Any) -> Any:
    return await (await DBOS.start_workflow_async(function, *given)).get_result()


async def throughput(given: dict[str, Any]) -> None:
    loading = asyncio.create_task(load(lambda _: result(steps, given["steps"]), given["runs"]))
    found = await window(Meter([os.getpid()]), given, lambda: tally.steps)
    assert not loading.done()
    report(found)


async def idle(given: dict[str, Any]) -> None:
    ends = (await result(steps, given["steps"]))[50:]
    report(percentiles([b - a for a, b in pairwise(ends)]))


async def growth(given: dict[str, Any]) -> None:
    meter = Meter([os.getpid()])
    meter.start()
    began = time.perf_counter()
    ends = await result(steps, given["steps"], 1024)
    report({**meter.stop(given["steps"]), "deciles_ms": deciles(ends, began)})


async def approval(given: dict[str, Any]) -> None:
    with SetWorkflowID("asks"):
        handle = await DBOS.start_workflow_async(asks, given["decisions"])
    command = [sys.executable, __file__, "approver", json.dumps({"decisions": given["decisions"]})]
    approver = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    found = await handle.get_result()
    said, _ = await approver.communicate()
    told = [float(word) for word in said.split()]
    report({"decision_to_durable": percentiles(found), "pending_to_subscriber": percentiles(told)})


def approver(given: dict[str, Any]) -> None:
    client = DBOSClient(system_database_url=DSN, use_listen_notify=True)
    for n in range(given["decisions"]):
        asked = client.get_event("asks", f"pending{n}", timeout_seconds=30)
        print(time.time() - asked, flush=True)
        time.sleep(0.02)
        client.send("asks", time.time(), topic="decision")
    os._exit(0)


def done() -> int:
    with psycopg.connect(DSN) as connection:
        row = connection.execute(
            "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'"
        ).fetchone()
    return int(row[0]) if row else 0


async def recovery(given: dict[str, Any]) -> None:
    def start(begin: bool) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, __file__, "worker", json.dumps({**given, "begin": begin})])

    worker = start(True)
    while effects()[0] < given["kill_after"]:
        await asyncio.sleep(0.05)
    worker.kill()
    worker.wait()
    killed, before = time.perf_counter(), effects()[0]
    worker = start(False)
    while done() < given["runs"] and time.perf_counter() - killed < given["limit"]:
        await asyncio.sleep(0.1)
    ended = done()
    worker.kill()
    report({"seconds": time.perf_counter() - killed, "done": ended, "before": before, "twice": effects()[1]})


async def worker(given: dict[str, Any]) -> None:
    if given["begin"]:
        starts = (
            DBOS.start_workflow_async(slow, run, given["steps"], given["pause"])
            for run in range(given["runs"])
        )
        await asyncio.gather(*starts)
    await asyncio.sleep(3600)


def main() -> None:
    measure, given = arguments()
    if measure == "approver":
        approver(given)
    if measure == "recovery":
        asyncio.run(recovery(given))
    launch()
    table = {"throughput": throughput, "idle": idle, "growth": growth, "approval": approval, "worker": worker}
    asyncio.run(table[measure](given))


main()
