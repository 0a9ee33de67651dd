"""A real executor process, and a stub that talks to it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.forked import forked_module
from tests.support.processes import Child, python_module

from interlock.common.client import channel, rpc_errors
from interlock.v1 import executor_pb2 as pb
from interlock.v1 import step_pb2, workspace_pb2
from interlock.v1.executor_pb2_grpc import ExecutorStub


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that the uid of steps can pass through, unlike pytest's."""
    path = Path(tempfile.mkdtemp(prefix="interlock-executor-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


class Executor:
    """The process, its directory, and calls with less writing."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.state = place / "state"
        self.live = place / "live"
        self.env: dict[str, str] = {}
        self.module = forked_module
        self._stack = AsyncExitStack()
        self.child: Child
        self.stub: Any
        self.starts = 0
        self.run = "run-1"

    async def start(self, **env: str) -> None:
        self.starts += 1
        ready = self.place / f"ready{self.starts}"
        environment = {
            "INTERLOCK_EXECUTOR_DIR": str(self.state),
            "INTERLOCK_EXECUTOR_ADDRESS": "127.0.0.1:0",
            "INTERLOCK_TOKEN": "test-token",
            **self.env,
            **env,
        }
        log = self.place / f"log{self.starts}"
        module = self.module(log, "interlock.executor", "--ready-file", str(ready), env=environment)
        self.child = await self._stack.enter_async_context(module)
        await self.connect(await self.child.wait_for_file(ready))

    async def connect(self, address: str) -> None:
        self.stub = ExecutorStub(
            await self._stack.enter_async_context(channel(address, "test-token", timeout=60))
        )

    async def kill(self) -> None:
        self.child.process.send_signal(signal.SIGKILL)
        await self.child.process.wait()

    async def restart(self, **env: str) -> None:
        await self.kill()
        await self.start(**env)

    async def close(self) -> None:
        await self._stack.aclose()

    async def workspace(self, **files: str) -> str:
        """A workspace in place over a small directory."""
        self.live.mkdir(exist_ok=True)
        for name, content in {"a.txt": "one\ntwo\nthree\n", **files}.items():
            path = self.live / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        source = workspace_pb2.WorkspaceSource(directory=workspace_pb2.DirectorySource(path=str(self.live)))
        answer = await self.call("CreateWorkspace", pb.CreateWorkspaceRequest(source=source))
        return str(answer.workspace.workspace_id)

    async def call(self, method: str, request: Any) -> Any:
        with rpc_errors("executor"):
            return await getattr(self.stub, method)(request)

    def key(self, step: int = 1, attempt: int = 1) -> pb.EffectKey:
        return pb.EffectKey(run_id=self.run, step=step, attempt=attempt)

    async def prepare(
        self, workspace: str, action: pb.Action, step: int = 1, attempt: int = 1, **more: Any
    ) -> pb.PrepareResponse:
        request = pb.PrepareRequest(
            key=self.key(step, attempt), workspace_id=workspace, action=action, **more
        )
        return await self.call("Prepare", request)  # type: ignore[no-any-return]

    async def apply(self, prepared: pb.PrepareResponse, step: int = 1, attempt: int = 1, **more: Any) -> Any:
        digest = prepared.effect.effect_digest
        values = {"effect_digest": digest, "approved_digest": digest, **more}
        return await self.call("Apply", pb.ApplyRequest(key=self.key(step, attempt), **values))

    async def discard(self, step: int = 1, attempt: int = 1, **more: Any) -> Any:
        return await self.call("Discard", pb.DiscardRequest(key=self.key(step, attempt), **more))

    async def head(self, workspace: str) -> str:
        found = await self.call("GetWorkspace", pb.GetWorkspaceRequest(workspace_id=workspace))
        return str(found.workspace.head_tree)


@pytest.fixture
async def idle(place: Path, request: pytest.FixtureRequest) -> AsyncIterator[Executor]:
    """An executor of the test's own, to be started.

    Forked, which is quicker, unless the test's module has `OWN_PROCESS`: how it ends, its command line or environment.
    """
    own = Executor(place)
    if getattr(request.module, "OWN_PROCESS", False):
        own.module = python_module
    yield own
    log = own.child.log if own.starts else ""
    await own.close()
    assert "Traceback" not in log, log


@pytest.fixture
async def lone(idle: Executor) -> Executor:
    """The same, started: to be killed and started again."""
    await idle.start()
    return idle


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of modules with `BOTH_FORKS` are run for both sorts of forks: the results are the same."""
    if "shared" in metafunc.fixturenames:
        both = getattr(metafunc.module, "BOTH_FORKS", False)
        metafunc.parametrize(
            "shared", ["overlay", "copy"] if both else ["overlay"], indirect=True, scope="session"
        )


@pytest.fixture(scope="session")
def shared(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of an executor that the tests of one worker share: starting one takes longer than most tests.

    The parameter is how it forks.
    """
    place = Path(tempfile.mkdtemp(prefix="interlock-executor-"))
    place.chmod(0o755)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "INTERLOCK_EXECUTOR_DIR": str(place / "state"),
        "INTERLOCK_EXECUTOR_ADDRESS": "127.0.0.1:0",
        "INTERLOCK_TOKEN": "test-token",
        "INTERLOCK_FORK": request.param,
    }
    reading, writing = os.pipe()
    with open(place / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "interlock.executor", "--ready-fd", str(writing)],
            env=environment, stdout=log, stderr=log, pass_fds=(writing,),
        )  # fmt: skip
    os.close(writing)
    with open(reading) as ready:
        address = ready.readline().strip()
    assert address, (place / "log").read_text()
    yield address
    process.terminate()
    assert process.wait(30) == 0, (place / "log").read_text()
    assert "Traceback" not in (place / "log").read_text()
    shutil.rmtree(place)


@pytest.fixture
async def executor(place: Path, shared: str) -> AsyncIterator[Executor]:
    running = Executor(place)
    running.run = "run-" + place.name.rpartition("-")[2].replace("_", "x").lower()
    await running.connect(shared)
    yield running
    await running.close()


def read(path: str, start: int = 0, end: int = 0) -> pb.Action:
    return pb.Action(read_file=step_pb2.ReadFileInput(path=path, start_line=start, end_line=end))


def edit(path: str, **change: str) -> pb.Action:
    return pb.Action(edit_file=step_pb2.EditFileInput(path=path, **change))


def command(line: str, **more: Any) -> pb.Action:
    return pb.Action(run_command=step_pb2.RunCommandInput(command=line, **more))


class Actions:
    read = staticmethod(read)
    edit = staticmethod(edit)
    command = staticmethod(command)


@pytest.fixture
def act() -> type[Actions]:
    return Actions
