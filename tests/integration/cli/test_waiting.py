"""The command against a service that is not there: for good, or for a while."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from interlock.client.endpoints import LOCK_FILE, Endpoints, write_running
from interlock.common.server import ServerSpec, running
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import orchestrator_pb2_grpc
from interlock.v1.run_pb2 import Run


class Orchestrator(orchestrator_pb2_grpc.OrchestratorServicer):
    async def GetRun(self, request: o.GetRunRequest, context: Any) -> o.GetRunResponse:
        return o.GetRunResponse(run=Run(run_id=request.run_id, goal="it came back"))


@pytest.fixture
def directory() -> Iterator[Path]:
    """A data directory whose path is short enough for a socket's."""
    path = Path(tempfile.mkdtemp(prefix="interlock-wait-"))
    yield path
    shutil.rmtree(path)


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """As by a supervisor that is alive, whose orchestrator has its place there."""
    write_running(directory, Endpoints(orchestrator=f"unix:{directory}/socket"), os.getpid())
    with open(directory / LOCK_FILE, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@asynccontextmanager
async def service(directory: Path) -> AsyncIterator[None]:
    add = orchestrator_pb2_grpc.add_OrchestratorServicer_to_server
    named = (Orchestrator(), add, "interlock.v1.Orchestrator")
    async with running(ServerSpec("orchestrator", f"unix:{directory}/socket", [named], "t")):
        yield


@asynccontextmanager
async def command(directory: Path, *arguments: str) -> AsyncIterator[Process]:
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "INTERLOCK_DATA_DIR": str(directory),
        "INTERLOCK_ORCHESTRATOR_ADDRESS": f"unix:{directory}/socket",
        "INTERLOCK_TOKEN": "t",
    }
    line = (sys.executable, "-m", "interlock.cli", *arguments)
    process = await asyncio.create_subprocess_exec(*line, env=env, stdout=PIPE, stderr=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_where_nothing_was_ever_there_it_ends_soon(directory: Path) -> None:
    async with command(directory, "run", "get", "run-1") as process:
        _, said = await process.communicate()
        assert process.returncode == 7
        assert b"cannot be reached" in said
        assert b"Waiting" not in said


async def test_an_up_that_is_alive_is_waited_for(directory: Path) -> None:
    with held(directory):
        async with command(directory, "run", "get", "run-1", "-o", "json") as process:
            assert process.stderr
            assert process.stdout
            said = await process.stderr.readline()
            assert b"The orchestrator" in said
            assert b"Waiting up to" in said
            async with service(directory):
                assert b"it came back" in await process.stdout.read()
                assert await process.wait() == 0
            assert await process.stderr.read() == b""
