"""The approvals' feed: how fast one event reaches everyone, and a decision the next step.

Subscribers run in several client processes on this machine, beside the service that is measured: they take part of
the time. Figures are printed with the machine's load; nothing here asserts a time.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.fake_orchestrator import FakeOrchestrator, record, serving
from tests.support.orchestrator import TOKEN, create, edit, executor_server, orchestrator, read
from tests.support.processes import ROOT, python_module
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.common.client import channel
from interlock.v1 import approval_pb2 as pb
from interlock.v1 import approval_pb2_grpc
from interlock.v1 import decision_pb2 as d

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]
PER_PROCESS = 500
COUNTS = (100, 1000, 5000) if os.environ.get("BENCH_FULL") else (100, 1000)


@asynccontextmanager
async def approval_process(place: Path, upstream: str) -> AsyncIterator[tuple[str, psutil.Process]]:
    """The approval service as a process, and its address."""
    env = {
        "INTERLOCK_DATA_DIR": str(place / "data"),
        "INTERLOCK_TOKEN": TOKEN,
        "INTERLOCK_APPROVAL_ADDRESS": "127.0.0.1:0",
        "INTERLOCK_ORCHESTRATOR_ADDRESS": upstream,
        "INTERLOCK_APPROVAL_HEARTBEAT_SECONDS": "3600",
        "PYTHONPATH": os.environ.get("BENCH_PYTHONPATH", "") or os.pathsep.join(sys.path),
    }
    arguments = ("--ready-file", str(place / "ready"))
    async with python_module(place / "log", "interlock.approval", *arguments, env=env) as child:
        yield await child.wait_for_file(place / "ready"), psutil.Process(child.process.pid)


def cpu_seconds(process: psutil.Process) -> float:
    """What it has used so far."""
    used = process.cpu_times()
    return float(used.user + used.system)


class Crowd:
    """Subscribers in processes."""

    def __init__(self, processes: Sequence[Any]) -> None:
        self._processes = processes

    async def lines(self) -> list[str]:
        """The next line of each."""
        found = await asyncio.gather(*(each.stdout.readline() for each in self._processes))
        return [line.decode().strip() for line in found]


@asynccontextmanager
async def crowd(address: str, count: int) -> AsyncIterator[Crowd]:
    """So many subscribers, all caught up."""
    size = min(count, PER_PROCESS)
    processes = []
    try:
        for _ in range(0, count, size):
            arguments = (
                "-m",
                "tests.support.feed_clients",
                address,
                TOKEN,
                str(size),
                str(max(1, size // 100)),
            )
            env = {**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(ROOT)])}
            processes.append(
                await asyncio.create_subprocess_exec(
                    sys.executable, *arguments, stdout=PIPE, env=env, cwd=ROOT
                )
            )
        found = Crowd(processes)
        assert set(await found.lines()) == {"ready"}
        yield found
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


def spread(seconds: Sequence[float]) -> str:
    """The least, the median and the 99th percentile: the least is what it takes where nothing else runs."""
    ordered = sorted(seconds)
    worst = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    least = f"least {ordered[0] * 1000:5.1f} ms"
    return f"{least}   p50 {statistics.median(ordered) * 1000:7.1f} ms   p99 {worst * 1000:7.1f} ms"


async def test_one_event_reaches_everyone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = []
    for count in COUNTS:
        place = tmp_path / str(count)
        place.mkdir()
        fake = FakeOrchestrator()
        fake.heartbeat = 3600.0
        async with (
            serving(fake, token=TOKEN) as upstream,
            approval_process(place, upstream) as (address, process),
            crowd(address, count) as people,
        ):
            taken = []
            used = cpu_seconds(process)
            for number in range(1, 31 if count > 1000 else 101):
                began = time.monotonic()
                await fake.request(record(number))
                taken.append(max(float(line) for line in await people.lines()) - began)
            used = (cpu_seconds(process) - used) / len(taken) / count
        rows.append((count, taken[5:], os.getloadavg()[0], used))
    with capsys.disabled():
        print()
        for count, taken, load, used in rows:
            print(
                f"{count:5d} subscribers, one event to the last of them: {spread(taken)}"
                f"   {used * 1e6:4.0f} us of the service's CPU each   (load {load:.1f})"
            )
    assert len(rows) == len(COUNTS)


async def test_from_prepared_to_subscriber_and_from_decision_to_the_next_step(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[float] = []
    started: list[float] = []
    ended: list[float] = []
    async with AsyncExitStack() as stack:
        executor = await stack.enter_async_context(executor_server(ScriptedExecutor(Script())))
        it = await stack.enter_async_context(orchestrator(database_url, executor))
        address, _ = await stack.enter_async_context(approval_process(tmp_path, str(it.address)))
        opened = await stack.enter_async_context(channel(address, TOKEN))
        stub: Any = approval_pb2_grpc.ApprovalStub(opened)
        feed = stub.Subscribe(pb.SubscribeRequest(), wait_for_ready=True).__aiter__()
        while not (await anext(feed)).caught_up:
            pass
        for _ in range(100):
            run = await create(it.stub, edit(), read())
            asked = await _event(feed, run.run_id, d.APPROVAL_EVENT_KIND_REQUESTED)
            told.append(time.time() - asked.requested_at.ToNanoseconds() / 1e9)
            await asyncio.sleep(0.02)  # idle again
            tail = it.deps.feed.run_tail(run.run_id, 0).__aiter__()
            decision = d.Decision(approve=d.Approve(), digest=asked.digest)
            began = time.monotonic()
            deciding = asyncio.ensure_future(
                stub.Decide(pb.DecideRequest(approval_id=asked.approval_id, decision=decision))
            )
            seen: dict[str, float] = {}
            while "step.succeeded" not in seen:
                for row in await anext(tail):
                    if row.step == 2:
                        seen.setdefault(row.type, time.monotonic() - began)
            started.append(seen["step.started"])
            ended.append(seen["step.succeeded"])
            await deciding
            await tail.aclose()
    with capsys.disabled():
        print(
            f"\nstep prepared (journal's clock) to subscriber:  {spread(told)}   (load {os.getloadavg()[0]:.1f})"
        )
        print(f"decision to the next step's start durable:      {spread(started)}")
        print(f"decision to the next step's result durable:     {spread(ended)}")
    assert len(told) == len(ended) == 100


async def _event(feed: Any, run_id: str, kind: int) -> d.ApprovalRecord:
    while True:
        event = (await anext(feed)).event
        if event.approval.run_id == run_id and event.kind == kind:
            found: d.ApprovalRecord = event.approval
            return found
