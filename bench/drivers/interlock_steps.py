"""Interlock: orchestrators (one, unless the measure says more), and an executor whose work is trivial, as processes.

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

    def __init__(self, pause: float = 0.0, orchestrators: int = 1) -> None:
        self.environment = {
            **os.environ,
            "INTERLOCK_DATABASE_URL": os.environ["BENCH_URL"],
            "INTERLOCK_DATA_DIR": str(SCRATCH / "data"),
            "INTERLOCK_ORCHESTRATOR_ADDRESS": "127.0.0.1:0",
            "INTERLOCK_LOG_LEVEL": "ERROR",
            "BENCH_PAUSE": str(pause),
        }
        os.environ["INTERLOCK_DATA_DIR"] = self.environment["INTERLOCK_DATA_DIR"]
        migrate.upgrade(os.environ["BENCH_URL"])
        self.token = load_token()
        program = Path(__file__).with_name("interlock_executor.py")
        self.executor, at = self._start([sys.executable, str(program), str(SCRATCH / "executor")], "executor")
        self.environment["INTERLOCK_EXECUTOR_ADDRESS"] = at
        self.orchestrators: list[tuple[subprocess.Popen[bytes], str]] = []
        for _ in range(orchestrators):
            self.start_orchestrator()
        self.stubs: list[Any] = []
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._database: Any = None

    def start_orchestrator(self) -> None:
        name = f"orchestrator{time.monotonic_ns()}"
        self.environment["INTERLOCK_READY_FILE"] = str(SCRATCH / name)
        profiled = os.environ.get("BENCH_PROFILE", "")
        command = [sys.executable, "-m", "interlock.orchestrator"]
        if profiled and not self.orchestrators:
            program = Path(__file__).with_name("profiled.py")
            command = [sys.executable, str(program), "interlock.orchestrator", profiled]
        self.orchestrators.append(self._start(command, name))

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
        for _, address in self.orchestrators:
            opened = await channel(parse_address(address), self.token).__aenter__()
            self.stubs.append(orchestrator_pb2_grpc.OrchestratorStub(opened))
        self._database = await psycopg.AsyncConnection.connect(DSN, autocommit=True)

    @property
    def stub(self) -> Any:
        """The first orchestrator's."""
        return self.stubs[0]

    def meter(self) -> Meter:
        # The executor's share can be told apart: its work is trivial, its session is not.
        return Meter(
            [each.pid for each, _ in self.orchestrators], [os.getpid()], executor=[self.executor.pid]
        )

    async def rows(self, query: str, *given: Any) -> list[Row]:
        return list(await (await self._database.execute(query, given)).fetchall())

    async def create(self, workspace: str, steps: list[step_pb2.StepSpec], at: int = 0) -> str:
        """A run, by the orchestrator whose turn `at` is."""
        request = o.CreateRunRequest(goal="bench", workspace_id=workspace, steps=steps, start=True)
        stub = self.stubs[at % len(self.stubs)]
        return str((await stub.CreateRun(request)).run.run_id)

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
            profiled = self.orchestrators[0][0]
            profiled.send_signal(signal.SIGUSR1)
            await asyncio.sleep(given["seconds"])
            profiled.send_signal(signal.SIGUSR2)
            await asyncio.sleep(1)

    def close(self) -> None:
        processes = [*(each for each, _ in self.orchestrators), self.executor]
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def read(path: str = "a.txt") -> step_pb2.StepSpec:
    return step_pb2.StepSpec(input=step_pb2.StepInput(read_file=step_pb2.ReadFileInput(path=path)))


def edit() -> step_pb2.StepSpec:
    made = step_pb2.EditFileInput(path="f", new_content="y\n")
    return step_pb2.StepSpec(input=step_pb2.StepInput(edit_file=made))


async def throughput(interlock: Interlock, given: dict[str, Any]) -> dict[str, Any]:
    steps = [read()] * given["steps"]

    async def one(slot: int) -> None:
        await interlock.ended(await interlock.create(f"ws-{slot}", steps, slot))

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
    """Once without a kill, for the least that can be, then with it."""
    await _under_way(interlock, given, "calm")
    began = time.perf_counter()
    await _completed(interlock, given["runs"], began + given["limit"] / 2)
    least = time.perf_counter() - began
    await _under_way(interlock, given, "kill")
    owner = (await interlock.rows("SELECT max(lease_owner) FROM runs"))[0][0]
    killed_one = interlock.orchestrators[0][0]
    killed_one.kill()
    killed_one.wait()
    killed, before = time.perf_counter(), effects()[0]
    if len(interlock.orchestrators) == 1:
        await asyncio.to_thread(interlock.start_orchestrator)
    ready = time.perf_counter() - killed
    left = "SELECT count(*) FROM runs WHERE needs_driver AND lease_owner = %s"
    while (await interlock.rows(left, owner))[0][0] and time.perf_counter() - killed < given["limit"]:
        await asyncio.sleep(0.02)
    taken = time.perf_counter() - killed
    done = await _completed(interlock, 2 * given["runs"], killed + given["limit"])
    seconds = time.perf_counter() - killed
    return {
        "seconds": seconds,
        "without_kill_seconds": least,
        "over_seconds": seconds - least,
        "ready_seconds": ready,
        "taken_seconds": taken,
        "done": done - given["runs"],
        "before": before,
        "twice": effects()[1],
    }


async def _under_way(interlock: Interlock, given: dict[str, Any], name: str) -> None:
    """So many runs, and so many effects of theirs."""
    until = effects()[0] + given["kill_after"]
    for start in range(0, given["runs"], 50):
        some = range(start, min(start + 50, given["runs"]))
        await asyncio.gather(
            *(interlock.create(f"ws-{name}-{run}", [read()] * given["steps"]) for run in some)
        )
    while effects()[0] < until:
        await asyncio.sleep(0.02)


async def _completed(interlock: Interlock, wanted: int, deadline: float) -> int:
    """Waits until so many runs have ended; how many have."""
    query, done = "SELECT count(*) FROM runs WHERE state = 'COMPLETED'", 0
    while done < wanted and time.perf_counter() < deadline:
        await asyncio.sleep(0.05)
        done = int((await interlock.rows(query))[0][0])
    return done


async def main() -> None:
    measure, given = arguments()
    interlock = Interlock(given.get("pause", 0.0), given.get("orchestrators", 1))
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
