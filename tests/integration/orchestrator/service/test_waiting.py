"""What a run waits for is said, and a run that cannot be driven is set aside and harms no other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.orchestrator import (
    NOWHERE,
    analyze,
    create,
    edit,
    executor_server,
    orchestrator,
    planner_server,
    read,
    until,
)
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.runs import book
from interlock.orchestrator.worker import defects
from interlock.orchestrator.worker.executing import Executing
from interlock.v1 import explain_pb2 as pb
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import planner_pb2, planner_pb2_grpc, run_pb2


async def explained(stub: Any, run_id: str, cause: str) -> pb.ExplainRunResponse:
    """What the run waits for, as soon as it is this."""
    async with asyncio.timeout(20):
        while True:
            said = await stub.ExplainRun(pb.ExplainRunRequest(run_id=run_id))
            if pb.WaitCause.Name(said.cause) == f"WAIT_CAUSE_{cause}":
                return said
            await asyncio.sleep(0.02)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Runs whose preparing raises."""
    runs: set[str] = set()
    prepare = Executing.prepare

    async def raises(self: Executing, run: Any, action: Any, epoch: int) -> Any:
        if run.goal in runs:
            raise ValueError("a secret")
        return await prepare(self, run, action, epoch)

    monkeypatch.setattr(Executing, "prepare", raises)
    monkeypatch.setattr(defects, "_FIRST", 0.01)
    return runs


async def test_a_run_that_cannot_be_driven_is_set_aside_and_resumed(
    database_url: str, broken: set[str]
) -> None:
    broken.add("test")
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        run_id = (await create(it.stub, read())).run_id
        said = await explained(it.stub, run_id, "SET_ASIDE")
        assert "prepare failed 5 times" in said.summary
        assert said.options[0].command == f"interlock run resume {run_id}"
        held = (await it.stub.GetRun(o.GetRunRequest(run_id=run_id))).run
        assert held.state == run_pb2.RUN_STATE_RUNNING
        assert (held.set_aside.tries, held.set_aside.failure.reason) == (5, "INTERNAL")
        assert "ValueError" in held.set_aside.failure.message
        assert "secret" not in str(held.set_aside)
        (listed,) = (await it.stub.ListRuns(o.ListRunsRequest(run_id_prefix=run_id))).runs
        assert listed.set_aside == held.set_aside
        # Still broken: it comes back after as many tries. Mended: it goes on from where it was.
        await it.stub.ResumeRun(o.ResumeRunRequest(run_id=run_id))
        said_again = await explained(it.stub, run_id, "SET_ASIDE")
        assert said_again.since.ToNanoseconds() > said.since.ToNanoseconds()
        broken.clear()
        await it.stub.ResumeRun(o.ResumeRunRequest(run_id=run_id))
        done = await until(it.stub, run_id, "COMPLETED")
        assert not done.HasField("set_aside")
        assert done.steps[0].attempt == 1


async def test_a_run_that_was_set_aside_stays_so_for_the_next_orchestrator(
    database_url: str, broken: set[str]
) -> None:
    broken.add("test")
    async with executor_server(ScriptedExecutor(Script())) as executor:
        async with orchestrator(database_url, executor) as first:
            run_id = (await create(first.stub, read(), read())).run_id
            await explained(first.stub, run_id, "SET_ASIDE")
        broken.clear()
        async with orchestrator(database_url, executor) as second:
            await explained(second.stub, run_id, "SET_ASIDE")
            await second.stub.SkipStep(o.SkipStepRequest(run_id=run_id, step=1))
            await until(second.stub, run_id, "COMPLETED")


async def test_a_journal_that_cannot_be_read_does_not_keep_others_from_being_driven(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script(hold={"prepare": asyncio.Event()})
    async with executor_server(ScriptedExecutor(script)) as executor:
        async with orchestrator(database_url, executor) as first:
            bad = (await create(first.stub, read())).run_id
            good = (await create(first.stub, read())).run_id
        script.hold.clear()
        read_one = book.recorded

        def unreadable(row: Any) -> Any:
            if row.run_id == bad:
                raise KeyError(row.seq)
            return read_one(row)

        monkeypatch.setattr(book, "recorded", unreadable)
        async with orchestrator(database_url, executor, lease_seconds=1.0) as second:
            async with asyncio.timeout(20):
                await until(second.stub, good, "COMPLETED")
            later = await create(second.stub, read())
            await until(second.stub, later.run_id, "COMPLETED")
            monkeypatch.setattr(book, "recorded", read_one)
            async with asyncio.timeout(30):
                await until(second.stub, bad, "COMPLETED")


async def _held_by_an_executor(database_url: str) -> run_pb2.Run:
    """A run that waits for its executor; nobody drives it."""
    script = Script(hold={"prepare": asyncio.Event()})
    async with (
        executor_server(ScriptedExecutor(script)) as executor,
        orchestrator(database_url, executor) as it,
    ):
        return await create(it.stub, read())


async def test_an_executor_that_is_full_or_away_is_named(database_url: str) -> None:
    script = Script()
    full = InterlockError(Reason.RESOURCE_EXHAUSTED, "Too many steps at once.")
    script.errors = lambda kind, key: full if kind == "prepare" else None
    held = (await _held_by_an_executor(database_url)).run_id
    async with orchestrator(database_url, NOWHERE) as lonely:
        said = await explained(lonely.stub, held, "EXECUTOR")
        assert any("goes on by itself" in line for line in said.details)
    async with (
        executor_server(ScriptedExecutor(script)) as executor,
        orchestrator(database_url, executor) as it,
    ):
        run_id = (await create(it.stub, read())).run_id
        said = await explained(it.stub, run_id, "EXECUTOR")
        assert said.summary == "Too many steps at once."
        script.errors = lambda kind, key: None
        await until(it.stub, held, "COMPLETED")
        await until(it.stub, run_id, "COMPLETED")
        await explained(it.stub, run_id, "NOTHING")


async def test_a_planner_that_is_away_is_named_and_the_step_then_fails(database_url: str) -> None:
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        run_id = (await create(it.stub, analyze())).run_id
        await explained(it.stub, run_id, "PLANNER")
        await until(it.stub, run_id, "FAILED")
        said = await explained(it.stub, run_id, "STEP_FAILED")
        assert said.options[1].command == f"interlock step retry {run_id} 1"


async def test_a_dead_orchestrator_is_named_and_who_waits_for_a_workspace_is_told_of_its_holder(
    database_url: str,
) -> None:
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        first = await create(it.stub, edit(), workspace_id="ws-shared")
        await explained(it.stub, first.run_id, "DECISION")
        second = await create(it.stub, edit(), workspace_id="ws-shared", on_busy=o.ON_BUSY_WAIT)
        said = await explained(it.stub, second.run_id, "WORKSPACE_BUSY")
        assert said.options[0].command == f"interlock run explain {first.run_id}"


async def test_a_model_that_is_too_slow_is_asked_once(database_url: str) -> None:
    """It may have to be paid for, so that only a person asks again."""
    planner = SlowPlanner()
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        planner_server(planner) as at,
        orchestrator(database_url, executor, at, model_seconds=0.2) as it,
    ):
        run_id = (await create(it.stub, analyze())).run_id
        failed = await until(it.stub, run_id, "FAILED")
    assert failed.failure.reason == "MODEL_TIMEOUT"
    assert planner.asked == 1


class SlowPlanner(planner_pb2_grpc.PlannerServicer):
    """Never answers."""

    def __init__(self) -> None:
        self.asked = 0

    async def Analyze(self, request: planner_pb2.AnalyzeRequest, context: Any) -> planner_pb2.AnalyzeResponse:
        self.asked += 1
        await asyncio.Event().wait()
        raise AssertionError
