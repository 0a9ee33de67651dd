"""A rejection that sends the rest of the plan back to the planner, and an edit, over the real orchestrator."""

from __future__ import annotations

from typing import Any

from tests.support.orchestrator import (
    command,
    create,
    executor_server,
    orchestrator,
    pending,
    planner_server,
    until,
)
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.v1 import decision_pb2, planner_pb2, planner_pb2_grpc, policy_pb2, step_pb2
from interlock.v1 import orchestrator_pb2 as o

FREE = policy_pb2.Policy(steps_may_weaken=True)


class Replanner(planner_pb2_grpc.PlannerServicer):
    """Keeps what it was asked, and answers with two steps."""

    def __init__(self) -> None:
        self.asked: list[planner_pb2.ReplanRequest] = []

    async def Replan(self, request: planner_pb2.ReplanRequest, context: Any) -> planner_pb2.ReplanResponse:
        self.asked.append(request)
        return planner_pb2.ReplanResponse(steps=[command("new one"), command("new two")])


async def decide(
    stub: Any, record: decision_pb2.ApprovalRecord, **verdict: Any
) -> decision_pb2.ApprovalRecord:
    decision = decision_pb2.Decision(digest=record.digest, channel="test", **verdict)
    request = o.RecordDecisionRequest(approval_id=record.approval_id, decision=decision)
    return (await stub.RecordDecision(request)).approval  # type: ignore[no-any-return]


async def test_the_planner_gets_the_comment_and_its_steps_take_the_place_of_the_rest(
    database_url: str,
) -> None:
    planner = Replanner()
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        planner_server(planner) as at,
        orchestrator(database_url, executor, at) as it,
    ):
        done = command("done", gate=policy_pb2.GATE_NONE)
        run = await create(it.stub, done, command("wrong"), command("never"), policy=FREE)
        await until(it.stub, run.run_id, "AWAITING_APPROVAL")
        record = await pending(it.stub, run.run_id)
        replan = decision_pb2.Reject(action=decision_pb2.REJECT_ACTION_REPLAN)
        await decide(it.stub, record, reject=replan, comment="use the library")
        await until(it.stub, run.run_id, "AWAITING_APPROVAL")
        now = (await it.stub.GetRun(o.GetRunRequest(run_id=run.run_id))).run
        events = (await it.stub.ListEvents(o.ListEventsRequest(run_id=run.run_id, page_size=1000))).events
    states = [step_pb2.StepState.Name(s.state).removeprefix("STEP_STATE_") for s in now.steps]
    assert states == ["SUCCEEDED", "REJECTED", "SKIPPED", "AWAITING_APPROVAL", "PENDING"]
    assert [s.spec.input.run_command.command for s in now.steps[3:]] == ["new one", "new two"]
    (asked,) = planner.asked
    assert asked.feedback == "use the library"
    assert [each.input.run_command.command for each in asked.remaining] == ["never"]
    assert [each.key for each in asked.results] == ["step-1", "step-2"]
    types = [event.type for event in events]
    at = types.index("step.rejected")
    assert types[at : at + 5] == [
        "step.rejected",
        "run.planning_started",
        "run.planned",
        "run.steps_added",
        "step.started",
    ]


async def test_an_edit_is_previewed_and_asked_about_anew_with_the_editors_name(database_url: str) -> None:
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        run = await create(it.stub, command("first"))
        await until(it.stub, run.run_id, "AWAITING_APPROVAL")
        before = await pending(it.stub, run.run_id)
        edit = decision_pb2.Edit(input=command("second").input)
        await decide(it.stub, before, edit=edit)
        await until(it.stub, run.run_id, "AWAITING_APPROVAL")
        while (after := await pending(it.stub, run.run_id)).approval_id == before.approval_id:
            pass
        step = (await it.stub.GetRun(o.GetRunRequest(run_id=run.run_id))).run.steps[0]
    assert after.digest != before.digest
    assert after.attempt == before.attempt + 1
    assert after.spec.input.run_command.command == "second"
    assert (before.edited_by, after.edited_by, step.edited_by) == ("", "local", "local")
