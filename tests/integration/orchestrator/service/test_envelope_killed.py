"""An orchestrator that is killed between an envelope's use and what follows from it: the use counts once, and holds."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.support.forked import forked_module
from tests.support.orchestrator import TOKEN, create, edit, executor_server, until
from tests.support.processes import Process
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.common.addresses import parse_address
from interlock.common.client import channel
from interlock.v1 import approval_pb2, decision_pb2, envelope_pb2, orchestrator_pb2_grpc
from interlock.v1 import orchestrator_pb2 as o

pytestmark = pytest.mark.timeout(120)


async def called(script: Script, run_id: str, step: int) -> None:
    """Until the executor was asked to publish the step."""
    async with asyncio.timeout(60):
        while ("apply", (run_id, step, 1)) not in script.calls:  # noqa: ASYNC110 (the executor's record)
            await asyncio.sleep(0.01)


async def test_a_use_outlives_the_orchestrator_that_recorded_it(database_url: str, tmp_path: Path) -> None:
    script = Script()
    async with executor_server(ScriptedExecutor(script)) as executor, AsyncExitStack() as stack:
        address = f"unix:{tmp_path}/orchestrator.sock"
        env = {
            "INTERLOCK_DATA_DIR": str(tmp_path / "data"),
            "INTERLOCK_TOKEN": TOKEN,
            "INTERLOCK_DATABASE_URL": database_url,
            "INTERLOCK_EXECUTOR_ADDRESS": str(executor),
            "INTERLOCK_ORCHESTRATOR_ADDRESS": address,
            "INTERLOCK_LEASE_SECONDS": "1",
        }
        connection = await stack.enter_async_context(channel(parse_address(address), TOKEN))
        stub = orchestrator_pb2_grpc.OrchestratorStub(connection)

        async def start(name: str) -> Process:
            ready = tmp_path / f"ready-{name}"
            settings = {**env, "INTERLOCK_READY_FILE": str(ready)}
            module = forked_module(tmp_path / f"log-{name}", "interlock.orchestrator", env=settings)
            child = await stack.enter_async_context(module)
            await child.wait_for_file(ready)
            return child.process

        first = await start("first")
        run = await create(stub, *(edit(f"{number}\n") for number in range(3)))
        await until(stub, run.run_id, "AWAITING_APPROVAL")
        wanted = o.ListApprovalRecordsRequest(filter=approval_pb2.ApprovalFilter(run_id=run.run_id))
        (record,) = (await stub.ListApprovalRecords(wanted)).approvals
        bounds = envelope_pb2.EnvelopeBounds(paths=["**"], max_steps=2)
        decision = decision_pb2.Decision(approve=decision_pb2.Approve(envelope=bounds), digest=record.digest)
        script.hold["apply"] = asyncio.Event()
        await stub.RecordDecision(o.RecordDecisionRequest(approval_id=record.approval_id, decision=decision))
        await called(script, run.run_id, 1)
        before, script.hold["apply"] = script.hold["apply"], asyncio.Event()
        before.set()
        await called(script, run.run_id, 2)  # the envelope was used for it
        first.kill()
        await first.wait()
        script.hold.pop("apply").set()
        await start("second")
        ended = await until(stub, run.run_id, "COMPLETED")
        (envelope,) = ended.envelopes
        assert list(envelope.steps) == [2, 3]
        answer = await stub.ListEvents(o.ListEventsRequest(run_id=run.run_id, page_size=500))
        types = Counter((event.type, event.step) for event in answer.events)
        used = {key: count for key, count in types.items() if key[0] in ("envelope.used", "step.applying")}
        assert used == {
            ("step.applying", 1): 1,
            **{(type_, step): 1 for type_ in ("envelope.used", "step.applying") for step in (2, 3)},
        }
