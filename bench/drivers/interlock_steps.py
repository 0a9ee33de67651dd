"""Interlock: an orchestrator, and an executor whose work is trivial, each a process of its own.

Runs are created one by one through the public CreateRun; when one has ended is looked up in the database, as a
watcher for each would measure the watchers. Each slot has a workspace of its own, so that no run waits for another.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
from meter import (
    DSN,
    SCRATCH,
    Meter,
    arguments,
    deciles,
    effects,
    load,
    percentiles,
    report,
    window,
)

from interlock.common.addresses import parse_address
from interlock.common.client import channel
from interlock.common.config import load_token
from interlock.orchestrator.store import migrate
from interlock.v1 import decision_pb2, orchestrator_pb2_grpc, step_pb2
from interlock.v1 import orchestrator_pb2 as o

POLL_SECONDS = 0.005
Row = tuple[Any, ...]


class Interlock:
    """The services, and a client of them."""

    def __init__(self, pause: float = 0.0) -> None:
        self.environment = {
            **os.environ,
            "INTERLOCK_DATABASE_URL": os.environ["BENCH_URL"],
            "INTERLOCK_DATA_DIR": str(SCRATCH / "data"),
            "INTERLOCK_ORCHESTRATOR_ADDRESS": "127.0.0.1:0",
            "INTERLOCK_LOG_LEVEL": "ERROR",
            # Who takes over after a kill waits for the lease to end: the default is 6 seconds.
            "INTERLOCK_LEASE_SECONDS": "2",
            "BENCH_PAUSE": str(pause),
        }
        os.environ["INTERLOCK_DATA_DIR"] = self.environment["INTERLOCK_DATA_DIR"]
        migrate.upgrade(os.environ["BENCH_URL"])
        self.token = load_token()
        program = Path(__file__).with_name("interlock_executor.py")
        self.executor, at = self._start([sys.executable, str(program), str(SCRATCH / "executor")], "executor")
        self.environment["INTERLOCK_EXECUTOR_ADDRESS"] = at
        self.start_orchestrator()
        self.orchestrator_at: str
        self._channel: Any = None
        self.stub: Any = None
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._database: Any = None

    def start_orchestrator(self) -> None:
        name = f"orchestrator{time.monotonic_ns()}"
        self.environment["INTERLOCK_READY_FILE"] = str(SCRATCH / name)
        profiled = os.environ.get("BENCH_PROFILE", "")
        command = [sys.executable, "-m", "interlock.orchestrator"]
        if profiled:
            program = Path(__file__).with_name("profiled.py")
            command = [sys.executable, str(program), "interlock.orchestrator", profiled]
        self.orchestrator, self.orchestrator_at = self._start(command, name)

    def _start(self, command: list[str], name: str) -> tuple[subprocess.Popen[bytes], str]:
        process = subprocess.Popen(command, env=self.environment)
        deadline = time.monotonic() + 60
        ready = SCRATCH / name
        while not ready.exists() or not ready.read_text().strip():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{name} did not start")
            time.sleep(0.02)
        return process, ready.read_text().strip()

    async def connect(self) -> None:
        self._channel = channel(parse_address(self.orchestrator_at), self.token)
        self.stub = orchestrator_pb2_grpc.OrchestratorStub(await self._channel.__aenter__())
        if self._database is None:
            self._database = await psycopg.AsyncConnection.connect(DSN, autocommit=True)

    def meter(self) -> Meter:
        # The executor's share can be told apart: its work is trivial, its session is not.
        return Meter([self.orchestrator.pid], [os.getpid()], executor=[self.executor.pid])

    async def rows(self, query: str, *given: Any) -> list[Row]:
        return list(await (await self._database.execute(query, given)).fetchall())

    async def create(self, workspace: str, steps: list[step_pb2.StepSpec]) -> str:
        request = o.CreateRunRequest(goal="bench", workspace_id=workspace, steps=steps, start=True)
        return str((await self.stub.CreateRun(request)).run.run_id)

    async def ended(self, run_id: str) -> None:
        self._waiting[run_id] = asyncio.get_running_loop().create_future()
        await self._waiting[run_id]

    async def watch(self) -> None:
        """Wakes those whose run has ended."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            wanted = list(self._waiting)
            found = "SELECT id FROM runs WHERE id = ANY(%s) AND state = 'COMPLETED'"
            for (run_id,) in await self.rows(found, wanted) if wanted else ():
                self._waiting.pop(run_id).set_result(None)

    async def durable(self) -> int:
        return int((await self.rows("SELECT coalesce(sum(steps_done), 0) FROM runs"))[0][0])

    async def profile(self, given: dict[str, Any]) -> None:
        """With BENCH_PROFILE: what the orchestrator does while it is measured."""
        if os.environ.get("BENCH_PROFILE"):
            await asyncio.sleep(given["warm"])
            self.orchestrator.send_signal(signal.SIGUSR1)
            await asyncio.sleep(given["seconds"])
            self.orchestrator.send_signal(signal.SIGUSR2)
            await asyncio.sleep(1)

    def close(self) -> None:
        for process in (self.orchestrator, self.executor):
            process.kill()
        for process in (self.orchestrator, self.executor):
            process.wait()


def read(path: str = "a.txt") -> step_pb2.StepSpec:
    return step_pb2.StepSpec(input=step_pb2.StepInput(read_file=step_pb2.ReadFileInput(path=path)))


def edit() -> step_pb2.StepSpec:
    made = step_pb2.EditFileInput(path="f", new_content="y\n")
    return step_pb2.StepSpec(input=step_pb2.StepInput(edit_file=made))


async def throughput(interlock: Interlock, given: dict[str, Any]) -> dict[str, Any]:
    steps = [read()] * given["steps"]

    async def one(slot: int) -> None:
        await interlock.ended(await interlock.create(f"ws-{slot}", steps))

    watching = asyncio.create_task(interlock.watch())
    loading = asyncio.create_task(load(one, given["runs"]))
    profiling = asyncio.create_task(interlock.profile(given))
    found = await window(interlock.meter(), given, interlock.durable)
    await profiling
    assert not loading.done(), loading
    assert not watching.done(), watching
    return found


async def _times(interlock: Interlock, run_id: str) -> list[float]:
    query = "SELECT extract(epoch FROM at)::float FROM journal WHERE run_id = %s AND type = %s ORDER BY seq"
    return [row[0] for row in await interlock.rows(query, run_id, "step.succeeded")]


async def idle(interlock: Interlock, given: dict[str, Any]) -> dict[str, Any]:
    watching = asyncio.create_task(interlock.watch())
    run_id = await interlock.create("ws-idle", [read()] * given["steps"])
    await interlock.ended(run_id)
    watching.cancel()
    ends = (await _times(interlock, run_id))[50:]
    return percentiles([b - a for a, b in pairwise(ends)])


async def growth(interlock: Interlock, given: dict[str, Any]) -> dict[str, Any]:
    size = "SELECT sum(pg_total_relation_size(c)) FROM unnest('{journal,payloads,runs}'::regclass[]) c"
    before = int((await interlock.rows(size))[0][0])
    watching = asyncio.create_task(interlock.watch())
    meter = interlock.meter()
    run_id = await interlock.create("ws-growth", [read("grow")] * given["steps"])
    meter.start()
    began = time.time()
    await interlock.ended(run_id)
    watching.cancel()
    found = meter.stop(given["steps"])
    bytes_ = int((await interlock.rows(size))[0][0]) - before
    ends = await _times(interlock, run_id)
    return {**found, "deciles_ms": deciles(ends, began), "bytes_per_step": round(bytes_ / given["steps"])}


async def approval(interlock: Interlock, given: dict[str, Any]) -> dict[str, Any]:
    told, decided = [], {}
    stream = interlock.stub.WatchApprovals(o.WatchApprovalsRequest())
    creating = asyncio.create_task(interlock.create("ws-ask", [edit()] * given["decisions"]))

    async def decide(approval: Any) -> None:
        decided[approval.step] = time.time()
        decision = decision_pb2.Decision(digest=approval.digest, channel="bench", approve={})
        await interlock.stub.RecordDecision(
            o.RecordDecisionRequest(approval_id=approval.approval_id, decision=decision)
        )

    async for message in stream:
        for found in (event.approval for event in message.events):
            if found.state == decision_pb2.APPROVAL_STATE_PENDING and found.step not in decided:
                told.append(time.time() - found.requested_at.ToNanoseconds() / 1e9)
                await asyncio.sleep(0.02)
                await decide(found)
        if len(decided) == given["decisions"]:
            break
    run_id = await creating
    watching = asyncio.create_task(interlock.watch())
    await interlock.ended(run_id)
    watching.cancel()
    ends = await _times(interlock, run_id)
    waits = [end - decided[number] for number, end in enumerate(ends, 1)]
    return {"decision_to_durable": percentiles(waits[5:]), "pending_to_subscriber": percentiles(told[5:])}


async def recovery(interlock: Interlock, given: dict[str, Any]) -> dict[str, Any]:
    for start in range(0, given["runs"], 50):
        await asyncio.gather(
            *(
                interlock.create(f"ws-{run}", [read()] * given["steps"])
                for run in range(start, min(start + 50, given["runs"]))
            )
        )
    while effects()[0] < given["kill_after"]:
        await asyncio.sleep(0.02)
    interlock.orchestrator.kill()
    interlock.orchestrator.wait()
    killed, before = time.perf_counter(), effects()[0]
    interlock.start_orchestrator()
    wanted, done = given["runs"], 0
    while done < wanted and time.perf_counter() - killed < given["limit"]:
        await asyncio.sleep(0.05)
        query = "SELECT count(*) FROM runs WHERE state = 'COMPLETED'"
        done = int((await interlock.rows(query))[0][0])
    return {"seconds": time.perf_counter() - killed, "done": done, "before": before, "twice": effects()[1]}


async def main() -> None:
    measure, given = arguments()
    interlock = Interlock(given.get("pause", 0.0))
    table = {
        "throughput": throughput,
        "idle": idle,
        "growth": growth,
        "approval": approval,
        "recovery": recovery,
    }
    try:
        await interlock.connect()
        found = await table[measure](interlock, given)
    finally:
        interlock.close()
    report(found)


asyncio.run(main())
