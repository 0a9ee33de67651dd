"""The same plan gives the same trees and outputs on every backend: through real executors, effect by effect."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.contract.sandbox.conftest import skip_unless_usable
from tests.contract.sandbox.test_limits import alive, marked_sleep, token
from tests.support.forked import forked_module
from tests.support.processes import Child

from interlock.common.client import channel, rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import executor_pb2 as pb
from interlock.v1 import step_pb2, workspace_pb2
from interlock.v1.executor_pb2_grpc import ExecutorStub

FILES = {
    "a.txt": b"one\ntwo\nthree\n",
    "src/lib.py": b"X = 1\n",
    "src/old/deep/f": b"x" * 5000,
    "run.sh": b"echo hi\n",
}

PLAN = [
    "sort -r a.txt | tee sorted; echo to stderr >&2",
    "chmod +x run.sh; ./run.sh $((6*7)); mkdir -p made/empty; chmod 700 made/empty; ln -s ../a.txt made/link; ln sorted hard",  # noqa: E501
    "rm -r src/old; mv src/lib.py src/moved.py; cp -p src/moved.py copied.py; echo 'X = 2' > src/moved.py; ls -R",
    "mv made renamed; rm -rf renamed/empty; mkdir -p src/old/deep; echo new > src/old/deep/f; find . | LC_ALL=C sort",
    '/usr/bin/python3 -c \'import hashlib,os,tempfile; print(hash("a"), os.getcwd() == os.environ["PWD"].rstrip("/"));'  # noqa: ISC004
    ' open(os.path.join(tempfile.gettempdir(), "t"), "w").write("x"); os.utime("a.txt", (5, 5)); print(os.environ["TZ"])\'',  # noqa: E501
    "tar -cf - --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner renamed src | sha256sum; umask; date -d @0",
    "printf '\\377\\000\\033[31m' ; printf 'name' > \"$(printf 'odd\\n-\\303\\251 name')\"; touch -- -rf; exit 3",
    "mkfifo pipe; (echo through > pipe &); cat pipe; rm pipe; head -c 3000000 /dev/zero | tr '\\0' x",
    "kill -SEGV $$",
    "cd src && cat no-such-file",
    "git init -q . 2>/dev/null; rm -rf .git; echo end > 'end'",
    "(setsid sh -c 'sleep 1000; echo late > late' &); echo early > early",
]


class Executor:
    """A process with one backend, and a workspace in it."""

    def __init__(self, child: Child, stub: Any, place: Path) -> None:
        self.child, self.stub, self.place = child, stub, place
        self.workspace = ""
        self.steps = 0

    async def call(self, method: str, request: Any) -> Any:
        with rpc_errors("executor"):
            return await getattr(self.stub, method)(request)

    async def make_workspace(self) -> None:
        live = self.place / "live"
        for name, content in FILES.items():
            (live / name).parent.mkdir(parents=True, exist_ok=True)
            (live / name).write_bytes(content)
            (live / name).chmod(0o644)
        source = workspace_pb2.WorkspaceSource(directory=workspace_pb2.DirectorySource(path=str(live)))
        answer = await self.call("CreateWorkspace", pb.CreateWorkspaceRequest(source=source))
        self.workspace = answer.workspace.workspace_id

    async def step(self, line: str, apply: bool = True, **more: Any) -> Any:
        """Prepare a command and publish its effect."""
        self.steps += 1
        key = pb.EffectKey(run_id="run-same", step=self.steps, attempt=1)
        codes = more.pop("allowed_exit_codes", [1, 3])
        action = pb.Action(
            run_command=step_pb2.RunCommandInput(command=line, allowed_exit_codes=codes, **more)
        )
        answer = await self.call(
            "Prepare", pb.PrepareRequest(key=key, workspace_id=self.workspace, action=action)
        )
        if apply and answer.state == pb.EFFECT_STATE_PREPARED:
            digest = answer.effect.effect_digest
            await self.call("Apply", pb.ApplyRequest(key=key, effect_digest=digest, approved_digest=digest))
        return answer


@asynccontextmanager
async def executor(place: Path, backend: str, **env: str) -> AsyncIterator[Executor]:
    place.mkdir(exist_ok=True)  # noqa: ASYNC240
    environment = {
        "INTERLOCK_EXECUTOR_DIR": str(place / "state"),
        "INTERLOCK_EXECUTOR_ADDRESS": "127.0.0.1:0",
        "INTERLOCK_TOKEN": "test-token",
        "INTERLOCK_SANDBOX": backend.partition(":")[0],
        "INTERLOCK_OCI_RUNTIME": backend.partition(":")[2],
        **env,
    }
    ready = place / "ready"
    ready.unlink(missing_ok=True)
    async with AsyncExitStack() as stack:
        module = forked_module(
            place / "log", "interlock.executor", "--ready-file", str(ready), env=environment
        )
        child = await stack.enter_async_context(module)
        address = await child.wait_for_file(ready)
        stub = ExecutorStub(await stack.enter_async_context(channel(address, "test-token", timeout=60)))
        yield Executor(child, stub, place)
        assert "Traceback" not in child.log, child.log


def seen(answer: Any) -> tuple[Any, ...]:
    """Everything of an effect that must not depend on the backend."""
    effect = answer.effect
    streams = [(s.digest, s.total_bytes, s.head) for s in (effect.stdout, effect.stderr)]
    changes = [(change.path, change.kind) for change in effect.changes]
    return (
        answer.state,
        effect.result_tree,
        effect.exit_code,
        streams,
        changes,
        effect.diff,
        answer.failure.reason,
    )


async def run_plan(place: Path, backend: str) -> list[tuple[Any, ...]]:
    async with executor(place, backend) as running:
        await running.make_workspace()
        return [seen(await running.step(line)) for line in PLAN]


async def test_the_same_plan_gives_the_same(open_dir: Path, backend: str) -> None:
    if backend == "bubblewrap":
        pytest.skip("it is what the others are compared with")
    expected = await run_plan(open_dir / "expected", "bubblewrap")
    found = await run_plan(open_dir / "found", backend)
    for line, one, other in zip(PLAN, expected, found, strict=True):
        assert one == other, line
    assert len({tree for _, tree, *_ in found}) >= 6


async def test_the_executor_tells_its_tier(open_dir: Path, backend: str) -> None:
    async with executor(open_dir / "one", backend) as running:
        info = await running.call("GetExecutorInfo", pb.GetExecutorInfoRequest())
        await running.make_workspace()
        report = (await running.step("true")).effect.sandbox
    assert info.sandbox.backend == backend
    assert info.sandbox == report
    assert {probe.name for probe in info.probes if not probe.available} <= {
        "cgroup",
        "openat2",
        "landlock",
        "network",
    }


async def test_steps_of_a_killed_executor_end(open_dir: Path, backend: str) -> None:
    """By themselves, or with the next executor on the directory, which serves only when none is left."""
    mark = token()
    place = open_dir / "one" if backend == "gvisor" else None
    async with executor(open_dir / "one", backend) as running:
        await running.make_workspace()
        step = asyncio.create_task(running.step(f"setsid {marked_sleep(mark)} & sleep 1000"))
        async with asyncio.timeout(30):
            while not alive(mark, place):  # noqa: ASYNC110 (another process starts it)
                await asyncio.sleep(0.01)
        running.child.process.send_signal(signal.SIGKILL)
        with pytest.raises(InterlockError):
            await step
        await running.child.process.wait()
    async with executor(open_dir / "one", backend):
        assert alive(mark, open_dir / "one") == []


async def test_an_executor_refuses_to_start_below_its_minimum(open_dir: Path) -> None:
    with pytest.raises(AssertionError) as caught:
        async with executor(open_dir / "one", "landlock", INTERLOCK_SANDBOX_MINIMUM="namespaces"):
            pass
    assert Reason.SANDBOX_UNAVAILABLE.value in str(caught.value)
    assert "minimum" in str(caught.value) or "Landlock" in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run steps as root")
async def test_an_executor_refuses_to_run_steps_as_root(open_dir: Path, backend: str) -> None:
    with pytest.raises(AssertionError) as caught:
        async with executor(open_dir / "one", backend, INTERLOCK_STEP_UID="0"):
            pass
    assert "Steps would run as root" in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.fixture
def gvisor(reasons: dict[str, str]) -> str:
    skip_unless_usable("gvisor", reasons)
    return "gvisor"


async def test_a_minimum_leads_to_the_backend_that_has_it(open_dir: Path, gvisor: str) -> None:
    async with executor(open_dir / "one", "auto", INTERLOCK_SANDBOX_MINIMUM=gvisor) as running:
        info = await running.call("GetExecutorInfo", pb.GetExecutorInfoRequest())
        await running.make_workspace()
        report = (await running.step("uname -r; true")).effect
    assert info.sandbox.backend == report.sandbox.backend == gvisor
    assert report.stdout.head == b"4.4.0\n"
