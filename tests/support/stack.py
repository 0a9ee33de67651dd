"""An orchestrator in this process on a real executor process: what a step's life needs, and nothing else.

    stack = Stack(place, database_url)
    async with stack.running():
        run = await stack.run(command("echo x > f", gate=EFFECT))
        shown = await stack.pending(run)

The executor can be killed, and its directory looked at and changed.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tests.support.forked import forked_module
from tests.support.orchestrator import TOKEN, Running, orchestrator, until
from tests.support.processes import Child
from typer.testing import CliRunner, Result

from interlock.cli.main import app
from interlock.common.addresses import parse_address
from interlock.common.client import channel, rpc_errors
from interlock.common.policy.model import PolicyDocument
from interlock.v1 import decision_pb2, executor_pb2, policy_pb2, run_pb2, step_pb2, workspace_pb2
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1.executor_pb2_grpc import ExecutorStub

COMMAND, EFFECT = policy_pb2.GATE_COMMAND, policy_pb2.GATE_EFFECT
BOTH, NONE = policy_pb2.GATE_BOTH, policy_pb2.GATE_NONE
FREE = policy_pb2.Policy(name="free", steps_may_weaken=True)


@contextmanager
def open_place() -> Iterator[Path]:
    """A directory that the uid of steps can pass through, unlike pytest's."""
    path = Path(tempfile.mkdtemp(prefix="interlock-stack-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def command(line: str, **spec: Any) -> step_pb2.StepSpec:
    """A shell line."""
    made = step_pb2.RunCommandInput(command=line, network=spec.pop("network", ()))
    return step_pb2.StepSpec(input=step_pb2.StepInput(run_command=made), **spec)


def edit(path: str, content: str, **spec: Any) -> step_pb2.StepSpec:
    """A file's new content."""
    made = step_pb2.EditFileInput(path=path, new_content=content)
    return step_pb2.StepSpec(input=step_pb2.StepInput(edit_file=made), **spec)


class ExecutorProcess:
    """A real executor in a process of its own."""

    def __init__(self, place: Path) -> None:
        self.place, self.state = place, place / "state"
        self._stack = AsyncExitStack()
        self.starts = 0
        self.env: dict[str, str] = {}
        self.program = "interlock.executor"
        self.address = ""
        self.child: Child
        self.stub: Any

    async def start(self, failpoint: str = "") -> None:
        """Starts it, on the address it had before if it had one; to be killed at a point it passes, if named."""
        self.starts += 1
        ready = self.place / f"ready{self.starts}"
        env = {
            "INTERLOCK_EXECUTOR_DIR": str(self.state),
            "INTERLOCK_EXECUTOR_ADDRESS": self.address or "127.0.0.1:0",
            "INTERLOCK_TOKEN": TOKEN,
            "TEST_FAILPOINT": failpoint,
            **self.env,
        }
        log = self.place / f"log{self.starts}"
        name = "tests.support.armed_executor" if failpoint else self.program
        module = forked_module(log, name, "--ready-file", str(ready), env=env)
        self.child = await self._stack.enter_async_context(module)
        self.address = await self.child.wait_for_file(ready)
        opened = await self._stack.enter_async_context(channel(self.address, TOKEN, timeout=60))
        self.stub = ExecutorStub(opened)

    async def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.child.process.send_signal(signal.SIGKILL)
        await self.child.process.wait()

    async def close(self) -> None:
        """End it."""
        await self._stack.aclose()

    async def workspace(self, live: Path) -> str:
        """The id of a new workspace over a directory."""
        source = workspace_pb2.WorkspaceSource(directory=workspace_pb2.DirectorySource(path=str(live)))
        with rpc_errors("executor"):
            made = await self.stub.CreateWorkspace(executor_pb2.CreateWorkspaceRequest(source=source))
        return str(made.workspace.workspace_id)

    async def head(self, workspace_id: str) -> str:
        """Where a workspace is."""
        with rpc_errors("executor"):
            found = await self.stub.GetWorkspace(executor_pb2.GetWorkspaceRequest(workspace_id=workspace_id))
        return str(found.workspace.head_tree)


class Stack:
    """Runs on a workspace, with less writing."""

    def __init__(self, running: Running, executor: ExecutorProcess) -> None:
        self.orchestrator, self.executor = running, executor
        self.stub = running.stub

    async def run(
        self, workspace: str, *steps: step_pb2.StepSpec, policy: policy_pb2.Policy | None = FREE
    ) -> str:
        """The id of a started run."""
        request = o.CreateRunRequest(
            goal="test", workspace_id=workspace, steps=steps, start=True, policy=policy
        )
        with rpc_errors("orchestrator"):
            return str((await self.stub.CreateRun(request)).run.run_id)

    async def until(self, run_id: str, *states: str) -> run_pb2.Run:
        """The run, once it is in one of these states."""
        return await until(self.stub, run_id, *states)

    async def pending(self, run_id: str, replaces: str = "") -> decision_pb2.ApprovalRecord:
        """What waits for a decision, with its preview; the one in place of `replaces` where given."""
        request = o.WatchApprovalsRequest()
        async for told in self.stub.WatchApprovals(request):
            for event in told.events:
                found = event.approval
                if found.run_id != run_id or found.replaces != replaces:
                    continue
                if event.kind in (
                    decision_pb2.APPROVAL_EVENT_KIND_PENDING,
                    decision_pb2.APPROVAL_EVENT_KIND_REQUESTED,
                ):
                    return await self.approval(found.approval_id)
        raise AssertionError("the feed ended")

    async def approval(self, approval_id: str) -> decision_pb2.ApprovalRecord:
        """An approval as it is now."""
        with rpc_errors("orchestrator"):
            request = o.GetApprovalRecordRequest(approval_id=approval_id)
            return (await self.stub.GetApprovalRecord(request)).approval

    async def decide(self, shown: decision_pb2.ApprovalRecord, **verdict: Any) -> decision_pb2.ApprovalRecord:
        """Approve what is shown, or another verdict; `digest` and `request_id` can be others."""
        digest = verdict.pop("digest", shown.digest)
        request_id = verdict.pop("request_id", "")
        target = {name: verdict.pop(name) for name in ("run_id", "step") if name in verdict}
        decision = decision_pb2.Decision(digest=digest, channel="test", **(verdict or {"approve": {}}))
        request = o.RecordDecisionRequest(
            approval_id=shown.approval_id, decision=decision, request_id=request_id, **target
        )
        with rpc_errors("orchestrator"):
            return (await self.stub.RecordDecision(request)).approval

    def forget_payloads(self) -> None:
        """As after a restart: what the orchestrator knows of payloads comes from its database."""
        payloads = self.orchestrator.deps.payloads
        payloads.__init__(payloads._database)  # type: ignore[misc]


def interlock_on(both: Stack, place: Path) -> Callable[..., Any]:
    """`interlock` on these services, to be awaited: its answer with `-o json`, else what it printed."""
    env = {
        "INTERLOCK_DATA_DIR": str(place / "data"),
        "INTERLOCK_TOKEN": TOKEN,
        "INTERLOCK_ORCHESTRATOR_ADDRESS": str(both.orchestrator.address),
        "INTERLOCK_EXECUTOR_ADDRESS": both.executor.address,
    }

    async def call(*arguments: str, code: int = 0) -> Any:
        done: Result = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=env)
        assert done.exit_code == code, done.output
        return json.loads(done.stdout) if "json" in arguments else done.stdout + done.stderr

    return call


@asynccontextmanager
async def stack(
    place: Path, database_url: str, program: str = "", policy: PolicyDocument | None = None, **env: str
) -> AsyncIterator[Stack]:
    """Both, started; ended on leaving. `env`: more of the executor's; `program`: another module than its own."""
    executor = ExecutorProcess(place)
    executor.env, executor.program = env, program or executor.program
    try:
        await executor.start()
        async with orchestrator(database_url, parse_address(executor.address), policy=policy) as running:
            yield Stack(running, executor)
    finally:
        await executor.close()
