"""What a step costs: `true` in every sandbox that works here against a plain subprocess, in one run, one at a time.

Medians. The machine should have nothing else to do.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.contract.sandbox.conftest import KINDS, _reason
from tests.contract.sandbox.test_same_everywhere import executor
from tests.support.arena import make_arena, open_directory

from interlock.executor.sandbox.base import SandboxSpec
from interlock.v1 import executor_pb2 as pb
from interlock.v1 import step_pb2

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]
ROUNDS = 20


async def median_ms(call: Callable[[], Awaitable[object]], rounds: int = ROUNDS) -> float:
    """Milliseconds, after two that are not counted."""
    spent = []
    for _ in range(rounds + 2):
        started = time.perf_counter()
        await call()
        spent.append((time.perf_counter() - started) * 1000)
    return statistics.median(spent[2:])


async def plain() -> None:
    process = await asyncio.create_subprocess_exec("/bin/bash", "-c", "true")
    assert await process.wait() == 0


async def in_sandbox(place: Path, backend: str) -> float:
    arena = make_arena(place, backend)
    forks = [arena.fork() for _ in range(ROUNDS + 2)]

    async def step() -> None:
        result = await arena.sandbox.run(SandboxSpec(command="true", fork=forks.pop()))
        assert result.exit_code == 0

    return await median_ms(step)


async def through_service(place: Path, backend: str) -> float:
    """A command prepared by the real service: fork, run, capture, digest, record; discarded between, not timed."""
    spent = []
    async with executor(place, backend) as running:
        await running.make_workspace()
        action = pb.Action(run_command=step_pb2.RunCommandInput(command="true"))
        for step in range(1, ROUNDS // 2 + 3):
            key = pb.EffectKey(run_id="run-bench", step=step, attempt=1)
            started = time.perf_counter()
            answer = await running.call(
                "Prepare", pb.PrepareRequest(key=key, workspace_id=running.workspace, action=action)
            )
            spent.append((time.perf_counter() - started) * 1000)
            assert answer.state == pb.EFFECT_STATE_PREPARED
            await running.call("Discard", pb.DiscardRequest(key=key))
    return statistics.median(spent[2:])


async def test_a_step_that_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"plain subprocess {await median_ms(plain):7.1f} ms"]
    for backend in KINDS:
        if reason := await asyncio.to_thread(_reason, backend):
            rows.append(f"{backend:16} not here: {reason[:80]}")
            continue
        with open_directory("interlock-bench-") as place:
            (place / "one").mkdir(mode=0o755)
            (place / "one").chmod(0o755)
            alone = await in_sandbox(place / "one", backend)
            service = await through_service(place / "two", backend)
        rows.append(f"{backend:16} {alone:7.1f} ms, prepared by the service {service:7.1f} ms")
    with capsys.disabled():
        print("\n" + "\n".join(rows) + f"\nload {os.getloadavg()[0]:.1f}")
    assert len(rows) == len(KINDS) + 1
