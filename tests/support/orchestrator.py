"""A real orchestrator in this process: real PostgreSQL, real gRPC, and whatever executor and planner are given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from interlock.common.addresses import Address, parse_address
from interlock.common.client import channel
from interlock.common.server import ServerSpec, running
from interlock.orchestrator import server
from interlock.orchestrator.clients.executor import ExecutorClient
from interlock.orchestrator.config import Config
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.scope import RunScope
from interlock.orchestrator.webhooks.sealing import Ring
from interlock.orchestrator.webhooks.settings import WebhookSettings
from interlock.v1 import (
    decision_pb2,
    executor_pb2_grpc,
    orchestrator_pb2_grpc,
    planner_pb2_grpc,
    run_pb2,
    step_pb2,
)
from interlock.v1 import orchestrator_pb2 as o

TOKEN = "token-of-the-tests"
RING = Ring([b"webhook key of the tests".ljust(32)])
NOWHERE = parse_address("127.0.0.1:1")
ANY_PORT = "127.0.0.1:0"


@dataclass
class Running:
    """A started orchestrator and a stub for it."""

    deps: Deps
    address: Address
    stub: Any


def only_executor(deps: Deps) -> ExecutorClient:
    """The executor of an orchestrator that has one."""
    (client,) = deps.executor.clients.values()
    return client


@asynccontextmanager
async def executor_server(servicer: Any, orchestrator: Address | None = None) -> AsyncIterator[Address]:
    """The servicer on a free port."""
    add = executor_pb2_grpc.add_ExecutorServicer_to_server
    served = [(servicer, add, "interlock.v1.Executor")]
    async with running(ServerSpec("executor", ANY_PORT, served, TOKEN, orchestrator=orchestrator)) as at:
        yield at


@asynccontextmanager
async def planner_server(servicer: Any, orchestrator: Address | None = None) -> AsyncIterator[Address]:
    """The servicer on a free port."""
    add = planner_pb2_grpc.add_PlannerServicer_to_server
    served = [(servicer, add, "interlock.v1.Planner")]
    async with running(ServerSpec("planner", ANY_PORT, served, TOKEN, orchestrator=orchestrator)) as at:
        yield at


@asynccontextmanager
async def orchestrator(
    database_url: str,
    executor: Address,
    planner: Address = NOWHERE,
    *,
    lease_seconds: float = 2.0,
    **settings: Any,
) -> AsyncIterator[Running]:
    """A whole orchestrator; leaving the block stops it as SIGTERM would. `settings`: more of its Config."""
    settings["lease_seconds"] = lease_seconds
    settings.setdefault("webhooks", WebhookSettings(ring=RING))
    config = Config(database_url, parse_address(ANY_PORT), executor, planner, TOKEN, **settings)
    async with server.parts(config) as deps, server.guarded(config, deps) as guard:
        spec = ServerSpec(
            "orchestrator",
            config.address,
            server.services(deps),
            TOKEN,
            guard=guard,
            scope=RunScope(deps),
            grace_seconds=0.2,
        )
        async with running(spec) as address, channel(address, TOKEN) as opened:
            yield Running(deps, address, orchestrator_pb2_grpc.OrchestratorStub(opened))


def read(path: str = "a.txt", **spec: Any) -> step_pb2.StepSpec:
    return step_pb2.StepSpec(input=step_pb2.StepInput(read_file=step_pb2.ReadFileInput(path=path)), **spec)


def edit(content: str = "new\n", **spec: Any) -> step_pb2.StepSpec:
    made = step_pb2.EditFileInput(path="a.txt", new_content=content)
    return step_pb2.StepSpec(input=step_pb2.StepInput(edit_file=made), **spec)


def command(line: str = "true", **spec: Any) -> step_pb2.StepSpec:
    made = step_pb2.RunCommandInput(command=line)
    return step_pb2.StepSpec(input=step_pb2.StepInput(run_command=made), **spec)


def analyze(instruction: str = "What is it?", **spec: Any) -> step_pb2.StepSpec:
    made = step_pb2.AnalyzeInput(instruction=instruction)
    return step_pb2.StepSpec(input=step_pb2.StepInput(analyze=made), **spec)


async def create(stub: Any, *steps: step_pb2.StepSpec, start: bool = True, **more: Any) -> run_pb2.Run:
    """A new run; each on a workspace of its own unless one is named."""
    workspace = more.pop("workspace_id", f"ws-{create.__dict__.setdefault('n', 0)}")
    create.__dict__["n"] += 1
    request = o.CreateRunRequest(
        goal="test", workspace_id=workspace, steps=steps, start=start and bool(steps), **more
    )
    return (await stub.CreateRun(request)).run


async def until(stub: Any, run_id: str, *states: str) -> run_pb2.Run:
    """Follows the run until it is in one of the states; the run with its steps."""
    wanted = {run_pb2.RunState.Value(f"RUN_STATE_{state}") for state in states}
    async for told in stub.WatchRun(o.WatchRunRequest(run_id=run_id, without_output=True)):
        if told.run.state in wanted:
            # What is told may be history: it counts only if it is still so.
            run = (await stub.GetRun(o.GetRunRequest(run_id=run_id))).run
            if run.state in wanted:
                return run
    run = (await stub.GetRun(o.GetRunRequest(run_id=run_id))).run
    assert run.state in wanted, run_pb2.RunState.Name(run.state)
    return run


async def pending(stub: Any, run_id: str) -> decision_pb2.ApprovalRecord:
    """The run's open approval, waited for."""
    await until(stub, run_id, "AWAITING_APPROVAL")
    page = await stub.ListApprovalRecords(o.ListApprovalRecordsRequest(filter={"run_id": run_id}))
    (approval,) = page.approvals
    return approval


async def decide(
    stub: Any, approval: decision_pb2.ApprovalRecord, **verdict: Any
) -> decision_pb2.ApprovalRecord:
    """Records a decision about the digest that the approval shows; approves unless another verdict is given."""
    decision = decision_pb2.Decision(digest=approval.digest, channel="test", **(verdict or {"approve": {}}))
    request = o.RecordDecisionRequest(approval_id=approval.approval_id, decision=decision)
    return (await stub.RecordDecision(request)).approval


def states(run: run_pb2.Run) -> list[str]:
    """The names of the steps' states."""
    return [step_pb2.StepState.Name(step.state).removeprefix("STEP_STATE_") for step in run.steps]
