"""Runs through the real service on real PostgreSQL; the executor is scripted (a fake that says so)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from tests.support.orchestrator import (
    Running,
    analyze,
    command,
    create,
    decide,
    edit,
    executor_server,
    orchestrator,
    pending,
    planner_server,
    read,
    states,
    until,
)
from tests.support.scripted_executor import BASE, Script, ScriptedExecutor

from interlock.common.errors import InterlockError, Reason
from interlock.common.status import error_from_rpc
from interlock.orchestrator.domain.evolve import fold
from interlock.orchestrator.runs.book import recorded
from interlock.orchestrator.store.readers import events
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import planner_pb2_grpc, policy_pb2, run_pb2, step_pb2


@dataclass
class World:
    """An orchestrator and the script of its executor."""

    orchestrator: Running
    script: Script

    @property
    def stub(self) -> Any:
        return self.orchestrator.stub


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    script = Script()
    async with (
        executor_server(ScriptedExecutor(script)) as executor,
        orchestrator(database_url, executor) as it,
    ):
        yield World(it, script)


async def refused(call: Any) -> InterlockError:
    """The typed error a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return error_from_rpc(caught.value)


async def test_a_plan_runs_to_its_end_and_the_journal_folds_to_the_stored_state(world: World) -> None:
    run = await create(world.stub, read(), edit(), command("make"))
    await decide(world.stub, await pending(world.stub, run.run_id))
    await decide(world.stub, await pending(world.stub, run.run_id))
    run = await until(world.stub, run.run_id, "COMPLETED")
    assert states(run) == ["SUCCEEDED"] * 3
    assert run.head_tree == world.script.heads[run.workspace_id] != BASE
    rows = await events.of_run(world.orchestrator.deps.database, run.run_id)
    folded = fold(map(recorded, rows))
    assert folded is not None
    assert (folded.seq, folded.head, folded.state) == (run.journal_length, run.journal_head, "COMPLETED")


async def test_what_was_approved_is_what_is_applied(world: World) -> None:
    run = await create(world.stub, edit())
    approval = await pending(world.stub, run.run_id)
    shown = (
        await world.stub.GetApprovalRecord(o.GetApprovalRecordRequest(approval_id=approval.approval_id))
    ).approval
    assert shown.digest == shown.preview.effect_digest
    assert shown.preview.diff
    assert world.script.count("apply") == 0
    await decide(world.stub, approval)
    run = await until(world.stub, run.run_id, "COMPLETED")
    assert world.script.applied[(run.run_id, 1, 1)] == shown.preview.result_tree
    assert world.script.count("prepare") == 1, "what was reviewed is published, not run again"


async def test_a_command_is_approved_before_anything_runs(world: World) -> None:
    run = await create(world.stub, command("rm -rf build"))
    approval = await pending(world.stub, run.run_id)
    assert approval.gate == policy_pb2.GATE_COMMAND
    assert world.script.count("prepare") == 0
    await decide(world.stub, approval)
    await until(world.stub, run.run_id, "COMPLETED")
    assert world.script.count("prepare") == 1


async def test_gate_both_asks_twice(world: World) -> None:
    run = await create(world.stub, command(gate=policy_pb2.GATE_BOTH))
    first = await pending(world.stub, run.run_id)
    await decide(world.stub, first)
    second = await pending(world.stub, run.run_id)
    assert (first.gate, second.gate) == (policy_pb2.GATE_COMMAND, policy_pb2.GATE_EFFECT)
    await decide(world.stub, second)
    await until(world.stub, run.run_id, "COMPLETED")


async def test_rejection_fails_the_run_and_throws_the_effect_away(world: World) -> None:
    run = await create(world.stub, edit(), read())
    approval = await pending(world.stub, run.run_id)
    answered = await decide(world.stub, approval, reject={}, comment="not this")
    assert answered.decision.comment == "not this"
    run = await until(world.stub, run.run_id, "FAILED")
    assert states(run) == ["REJECTED", "PENDING"]
    assert run.failure.reason == "STEP_REJECTED"
    async for told in world.stub.WatchRun(o.WatchRunRequest(run_id=run.run_id)):
        last = told
    assert last.event.type == "step.effect_discarded"
    assert world.script.discarded == {(run.run_id, 1, 1)}
    assert world.script.heads[run.workspace_id] == BASE


async def test_an_edited_step_is_prepared_anew_and_asks_again(world: World) -> None:
    run = await create(world.stub, edit("first\n"))
    first = await pending(world.stub, run.run_id)
    other = step_pb2.StepInput(edit_file=step_pb2.EditFileInput(path="a.txt", new_content="second\n"))
    await decide(world.stub, first, edit={"input": other})
    second = await pending(world.stub, run.run_id)
    assert second.digest != first.digest
    assert second.spec.input == other
    await decide(world.stub, second)
    run = await until(world.stub, run.run_id, "COMPLETED")
    assert run.steps[0].attempt == 2


@pytest.mark.parametrize("content", ["short\n", "long\n" * 5000])
async def test_texts_of_any_length_come_back(world: World, content: str) -> None:
    run = await create(world.stub, edit(content), start=False)
    page = await world.stub.GetRun(o.GetRunRequest(run_id=run.run_id))
    assert page.run.steps[0].spec.input.edit_file.new_content == content


async def test_the_first_decision_wins_and_the_second_is_told_which(world: World) -> None:
    run = await create(world.stub, edit())
    approval = await pending(world.stub, run.run_id)
    answers = await asyncio.gather(*(decide(world.stub, approval) for _ in range(8)), return_exceptions=True)
    errors = [error_from_rpc(a) for a in answers if isinstance(a, grpc.aio.AioRpcError)]
    assert len(errors) == 7
    assert {error.reason for error in errors} == {Reason.APPROVAL_ALREADY_DECIDED}
    assert {error.metadata["state"] for error in errors} == {"approved"}


async def test_decisions_about_something_else_are_refused(world: World) -> None:
    run = await create(world.stub, edit())
    approval = await pending(world.stub, run.run_id)
    decision = {"approve": {}, "digest": "sha256:" + "0" * 64}
    wrong = o.RecordDecisionRequest(approval_id=approval.approval_id, decision=decision)
    assert (await refused(world.stub.RecordDecision(wrong))).reason is Reason.APPROVAL_DIGEST_MISMATCH
    other = o.RecordDecisionRequest(approval_id=approval.approval_id, run_id="run-other", decision=decision)
    assert (await refused(world.stub.RecordDecision(other))).reason is Reason.APPROVAL_WRONG_STEP
    step = o.RecordDecisionRequest(approval_id=approval.approval_id, step=2, decision=decision)
    assert (await refused(world.stub.RecordDecision(step))).reason is Reason.APPROVAL_WRONG_STEP
    unknown = o.RecordDecisionRequest(approval_id="apr-none", decision=decision)
    assert (await refused(world.stub.RecordDecision(unknown))).reason is Reason.APPROVAL_NOT_FOUND


async def test_an_approval_that_nobody_answers_expires_and_never_allows(world: World) -> None:
    policy = policy_pb2.Policy()
    policy.approval_timeout.FromSeconds(1)
    run = await create(world.stub, edit(), policy=policy)
    approval = await pending(world.stub, run.run_id)
    run = await until(world.stub, run.run_id, "FAILED")
    assert run.failure.reason == "APPROVAL_EXPIRED"
    late = {"approve": {}, "digest": approval.digest}
    request = o.RecordDecisionRequest(approval_id=approval.approval_id, decision=late)
    assert (await refused(world.stub.RecordDecision(request))).reason is Reason.APPROVAL_EXPIRED
    assert world.script.count("apply") == 0


async def test_a_failed_command_fails_the_run(world: World) -> None:
    world.script.failures[1] = step_pb2.StepFailure(reason="COMMAND_FAILED", message="exit code 2")
    run = await create(world.stub, command(), read())
    await decide(world.stub, await pending(world.stub, run.run_id))
    run = await until(world.stub, run.run_id, "FAILED")
    assert states(run) == ["FAILED", "PENDING"]
    assert run.steps[0].failure.reason == run.failure.reason == "COMMAND_FAILED"
    assert world.script.count("apply") == 0


async def test_on_failure_continue_and_retry_and_skip(world: World) -> None:
    world.script.failures[1] = step_pb2.StepFailure(reason="COMMAND_FAILED", message="exit code 2")
    go_on = await create(world.stub, read(on_failure=step_pb2.ON_FAILURE_CONTINUE), read())
    assert states(await until(world.stub, go_on.run_id, "COMPLETED")) == ["FAILED", "SUCCEEDED"]
    stops = await create(world.stub, read(), read())
    await until(world.stub, stops.run_id, "FAILED")
    world.script.failures.clear()
    await world.stub.RetryStep(o.RetryStepRequest(run_id=stops.run_id, step=1))
    run = await until(world.stub, stops.run_id, "COMPLETED")
    assert run.steps[0].attempt == 2
    world.script.failures[1] = step_pb2.StepFailure(reason="COMMAND_FAILED", message="exit code 2")
    skips = await create(world.stub, read(), read())
    await until(world.stub, skips.run_id, "FAILED")
    await world.stub.SkipStep(o.SkipStepRequest(run_id=skips.run_id, step=1))
    assert states(await until(world.stub, skips.run_id, "COMPLETED")) == ["SKIPPED", "SUCCEEDED"]


async def test_drift_under_a_preview_makes_a_new_preview_and_asks_again(world: World) -> None:
    run = await create(world.stub, edit())
    first = await pending(world.stub, run.run_id)
    moved = InterlockError(Reason.WORKSPACE_DRIFTED, "a.txt was changed.", metadata={"paths": "a.txt"})
    world.script.errors = lambda kind, key: moved if kind == "apply" and key[2] == 1 else None
    await decide(world.stub, first)
    second = await pending(world.stub, run.run_id)
    assert (second.attempt, second.approval_id != first.approval_id) == (2, True)
    await decide(world.stub, second)
    await until(world.stub, run.run_id, "COMPLETED")
    assert set(world.script.applied) == {(run.run_id, 1, 2)}


async def test_one_step_at_a_time(world: World) -> None:
    run = await create(world.stub, read(), edit(), start=False)
    first = await world.stub.ExecuteNextStep(o.ExecuteNextStepRequest(run_id=run.run_id))
    assert (first.step.number, first.awaiting_approval, first.all_complete) == (1, False, False)
    assert first.run.pause_reason == "single_step"
    second = await world.stub.ExecuteNextStep(o.ExecuteNextStepRequest(run_id=run.run_id))
    assert (second.step.number, second.awaiting_approval) == (2, True)
    await decide(world.stub, await pending(world.stub, run.run_id))
    await until(world.stub, run.run_id, "PAUSED")
    last = await world.stub.ExecuteNextStep(o.ExecuteNextStepRequest(run_id=run.run_id))
    assert last.all_complete
    again = o.ExecuteNextStepRequest(run_id=run.run_id)
    assert (await refused(world.stub.ExecuteNextStep(again))).reason is Reason.RUN_WRONG_STATE


async def test_pause_resume_and_steps_added_on_the_way(world: World) -> None:
    run = await create(world.stub, edit())
    approval = await pending(world.stub, run.run_id)
    await world.stub.PauseRun(o.PauseRunRequest(run_id=run.run_id))
    await decide(world.stub, approval)
    paused = (await world.stub.GetRun(o.GetRunRequest(run_id=run.run_id))).run
    assert (paused.state, paused.pause_reason) == (run_pb2.RUN_STATE_PAUSED, "requested")
    assert states(paused) == ["APPROVED"]
    added = await world.stub.AddSteps(o.AddStepsRequest(run_id=run.run_id, steps=[read(), read()]))
    assert added.first_step == 2
    await world.stub.ResumeRun(o.ResumeRunRequest(run_id=run.run_id))
    assert states(await until(world.stub, run.run_id, "COMPLETED")) == ["SUCCEEDED"] * 3


async def test_cancel_stops_what_is_under_way(world: World) -> None:
    world.script.hold["prepare"] = asyncio.Event()
    run = await create(world.stub, edit(), read())
    async for told in world.stub.WatchRun(o.WatchRunRequest(run_id=run.run_id)):
        if told.event.type == "step.started":
            break
    await world.stub.CancelRun(o.CancelRunRequest(run_id=run.run_id, comment="enough"))
    run = await until(world.stub, run.run_id, "CANCELLED")
    assert states(run) == ["CANCELLED", "CANCELLED"]
    assert (run.run_id, 1, 1) in world.script.discarded
    assert world.script.count("apply") == 0


async def test_rollback_publishes_the_older_tree_as_a_new_event(world: World) -> None:
    run = await create(world.stub, edit(), edit())
    for _ in range(2):
        await decide(world.stub, await pending(world.stub, run.run_id))
    run = await until(world.stub, run.run_id, "COMPLETED")
    after_first = run.steps[0].head_tree
    back = await world.stub.RollbackRun(o.RollbackRunRequest(run_id=run.run_id, to_step=1))
    assert (back.head_tree, back.previous_tree) == (after_first, run.head_tree)
    back = await world.stub.RollbackRun(o.RollbackRunRequest(run_id=run.run_id, request_id="once"))
    assert back.head_tree == BASE == world.script.heads[run.workspace_id]
    repeated = await world.stub.RollbackRun(o.RollbackRunRequest(run_id=run.run_id, request_id="once"))
    assert repeated.head_tree == BASE
    assert world.script.count("restore") == 2


async def test_a_refused_rollback_is_an_error_and_changes_nothing(world: World) -> None:
    run = await create(world.stub, edit())
    await decide(world.stub, await pending(world.stub, run.run_id))
    run = await until(world.stub, run.run_id, "COMPLETED")
    moved = InterlockError(Reason.WORKSPACE_DRIFTED, "a.txt was changed.", metadata={"paths": "a.txt"})
    world.script.errors = lambda kind, key: moved if kind == "restore" else None
    error = await refused(world.stub.RollbackRun(o.RollbackRunRequest(run_id=run.run_id)))
    assert (error.reason, error.metadata["paths"]) == (Reason.WORKSPACE_DRIFTED, "a.txt")
    assert (await world.stub.GetRun(o.GetRunRequest(run_id=run.run_id))).run.head_tree == run.head_tree


async def test_a_repeated_request_returns_the_first_result(world: World) -> None:
    request = o.CreateRunRequest(request_id="r-1", goal="g", workspace_id="ws-r", steps=[read()])
    first, second = await asyncio.gather(world.stub.CreateRun(request), world.stub.CreateRun(request))
    assert first.run.run_id == second.run.run_id
    start = o.StartRunRequest(request_id="r-2", run_id=first.run.run_id)
    await world.stub.StartRun(start)
    await until(world.stub, first.run.run_id, "COMPLETED")
    repeated = await world.stub.StartRun(start)
    assert repeated.run.state == run_pb2.RUN_STATE_RUNNING, "the answer of the first call, not a refusal"
    request.goal = "another"
    assert (await refused(world.stub.CreateRun(request))).reason is Reason.REQUEST_ID_REUSED


async def test_wrong_states_and_unknown_ids_are_typed(world: World) -> None:
    stub = world.stub
    done = await create(stub, read())
    await until(stub, done.run_id, "COMPLETED")
    empty = await create(stub)
    cases = [
        (stub.StartRun(o.StartRunRequest(run_id=done.run_id)), Reason.RUN_WRONG_STATE),
        (stub.AddSteps(o.AddStepsRequest(run_id=done.run_id, steps=[read()])), Reason.RUN_WRONG_STATE),
        (stub.CancelRun(o.CancelRunRequest(run_id=done.run_id)), Reason.RUN_WRONG_STATE),
        (stub.ResumeRun(o.ResumeRunRequest(run_id=done.run_id)), Reason.RUN_WRONG_STATE),
        (stub.RetryStep(o.RetryStepRequest(run_id=empty.run_id, step=1)), Reason.RUN_WRONG_STATE),
        (stub.StartRun(o.StartRunRequest(run_id=empty.run_id)), Reason.RUN_EMPTY_PLAN),
        (stub.ExecuteNextStep(o.ExecuteNextStepRequest(run_id=empty.run_id)), Reason.RUN_EMPTY_PLAN),
        (stub.GetRun(o.GetRunRequest(run_id="run-none")), Reason.RUN_NOT_FOUND),
        (stub.StartRun(o.StartRunRequest(run_id="run-none")), Reason.RUN_NOT_FOUND),
        (stub.GetStep(o.GetStepRequest(run_id=done.run_id, step=2)), Reason.STEP_NOT_FOUND),
        (stub.GetCost(o.GetCostRequest(run_id="run-none")), Reason.RUN_NOT_FOUND),
        (stub.ListRuns(o.ListRunsRequest(page_token="forged")), Reason.PAGE_TOKEN_INVALID),
        (stub.GetRun(o.GetRunRequest(run_id="")), Reason.VALIDATION_FAILED),
    ]
    for call, reason in cases:
        error = await refused(call)
        assert error.reason is reason
        assert error.fix
        if reason is Reason.RUN_WRONG_STATE:
            assert error.metadata["current"] in ("COMPLETED", "CREATED")
            assert error.metadata["allowed"]


async def test_plans_out_of_bounds_are_refused_and_leave_nothing(world: World) -> None:
    many = o.CreateRunRequest(goal="g", workspace_id="ws-m", steps=[read()] * 10_001)
    assert (await refused(world.stub.CreateRun(many))).reason is Reason.VALIDATION_FAILED
    weak = o.CreateRunRequest(goal="g", workspace_id="ws-m", steps=[edit(gate=policy_pb2.GATE_NONE)])
    error = await refused(world.stub.CreateRun(weak))
    assert (error.reason, error.field) == (Reason.INVALID_ARGUMENT, "steps[0].gate")
    world.script.missing.add("ws-gone")
    gone = o.CreateRunRequest(goal="g", workspace_id="ws-gone", steps=[read()])
    assert (await refused(world.stub.CreateRun(gone))).reason is Reason.WORKSPACE_NOT_FOUND
    assert not (await world.stub.ListRuns(o.ListRunsRequest())).runs


async def test_ten_thousand_steps_are_held_and_paged(world: World) -> None:
    run = await create(world.stub, *([read()] * 10_000), start=False)
    assert run.steps_total == 10_000
    page = await world.stub.ListSteps(o.ListStepsRequest(run_id=run.run_id, page_size=1000))
    assert [step.number for step in page.steps] == list(range(1, 1001))
    page = await world.stub.ListSteps(
        o.ListStepsRequest(run_id=run.run_id, page_size=1000, page_token=page.next_page_token)
    )
    assert page.steps[0].number == 1001
    more = o.AddStepsRequest(run_id=run.run_id, steps=[read()])
    assert (await refused(world.stub.AddSteps(more))).reason is Reason.RUN_TOO_MANY_STEPS


async def test_a_second_run_on_a_workspace_is_refused_while_the_first_holds_it(world: World) -> None:
    first = await create(world.stub, edit(), workspace_id="ws-shared")
    approval = await pending(world.stub, first.run_id)
    busy = o.CreateRunRequest(goal="g", workspace_id="ws-shared", steps=[read()], start=True)
    assert (await refused(world.stub.CreateRun(busy))).reason is Reason.WORKSPACE_BUSY
    await decide(world.stub, approval)
    await until(world.stub, first.run_id, "COMPLETED")
    second = await create(world.stub, read(), workspace_id="ws-shared")
    await until(world.stub, second.run_id, "COMPLETED")


async def test_a_planner_that_is_away_is_a_typed_error_and_the_run_is_as_before(world: World) -> None:
    run = await create(world.stub)
    error = await refused(world.stub.PlanRun(o.PlanRunRequest(run_id=run.run_id)))
    assert error.reason is Reason.PLANNER_UNAVAILABLE
    after = (await world.stub.GetRun(o.GetRunRequest(run_id=run.run_id))).run
    assert after.state == run_pb2.RUN_STATE_CREATED
    asks = await create(world.stub, analyze(), read())
    failed = await until(world.stub, asks.run_id, "FAILED")
    assert failed.failure.reason == "PLANNER_UNAVAILABLE"


async def test_every_event_refers_to_the_one_before(world: World) -> None:
    run = await create(world.stub, read(), read())
    run = await until(world.stub, run.run_id, "COMPLETED")
    page = await world.stub.ListEvents(o.ListEventsRequest(run_id=run.run_id))
    assert [event.seq for event in page.events] == list(range(1, run.journal_length + 1))
    for before, after in zip(page.events, page.events[1:], strict=False):
        assert after.previous_digest == before.digest == json.loads(after.canonical_json)["prev"]


class UselessPlanner(planner_pb2_grpc.PlannerServicer):
    """A fake planner whose model answered three times in vain; two answers had a price."""

    async def Analyze(self, request: Any, context: Any) -> Any:
        told = {"model_calls": "3", "unpriced_calls": "1", "cost_micros": "700", "raw_reply": "what?"}
        raise InterlockError(Reason.MODEL_REPLY_INVALID, "No usable answer.", metadata=told)


async def test_what_a_question_cost_is_recorded_even_when_it_failed(database_url: str) -> None:
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        planner_server(UselessPlanner()) as planner,
        orchestrator(database_url, executor, planner) as it,
    ):
        run = await create(it.stub, analyze())
        run = await until(it.stub, run.run_id, "FAILED")
    assert run.failure.reason == "MODEL_REPLY_INVALID"
    assert (run.cost.total.micros, run.cost.model_calls, run.cost.unpriced_calls) == (700, 3, 1)
