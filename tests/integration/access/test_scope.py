"""A token that is limited to labels reaches what belongs to workspaces that have them, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.access.conftest import Services
from tests.support.orchestrator import create, edit, until

from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import (
    access_pb2,
    approval_pb2_grpc,
    decision_pb2,
    executor_pb2,
    executor_pb2_grpc,
    fork_pb2,
    orchestrator_pb2_grpc,
    run_pb2,
)
from interlock.v1 import approval_pb2 as a
from interlock.v1 import orchestrator_pb2 as o

CORE, OTHER = "ws-core", "ws-other"


class Asking:
    """The services as the holder of one token sees them."""

    def __init__(self, runs: Any, approvals: Any) -> None:
        self.runs, self.approvals = runs, approvals

    async def pending(self) -> set[str]:
        """Workspaces of what a new subscription begins with."""
        call, found = self.approvals.Subscribe(a.SubscribeRequest()), set()
        async for message in call:
            if message.caught_up:
                break
            found.add(message.event.approval.workspace_id)
        call.cancel()
        return found


async def asking(services: Services, token: str) -> Asking:
    runs = orchestrator_pb2_grpc.OrchestratorStub(await services.channel("Orchestrator", token))
    return Asking(runs, approval_pb2_grpc.ApprovalStub(await services.channel("Approval", token)))


async def reason_of(call: Any) -> Reason:
    with pytest.raises(InterlockError) as caught, rpc_errors():
        await call
    return caught.value.reason


@pytest.fixture
async def limited(services: Services) -> Asking:
    """Approver and operator of what is labelled team=core."""
    services.labels[CORE] = {"team": "core", "tier": "1"}
    services.labels[OTHER] = {"team": "other"}
    issued = await services.issue("operator", "approver", scope={"team": "core"})
    return await asking(services, issued.text)


async def waiting(services: Services, workspace: str) -> decision_pb2.ApprovalRecord:
    """A run on the workspace whose edit waits for approval."""
    stub = services.orchestrator.stub
    run = await create(stub, edit(), workspace_id=workspace)
    await until(stub, run.run_id, "AWAITING_APPROVAL")
    listed = await stub.ListApprovalRecords(
        o.ListApprovalRecordsRequest(filter=a.ApprovalFilter(run_id=run.run_id))
    )
    record: decision_pb2.ApprovalRecord = listed.approvals[0]
    return record


def approve(record: decision_pb2.ApprovalRecord) -> a.DecideRequest:
    decision = decision_pb2.Decision(approve=decision_pb2.Approve(), digest=record.digest)
    return a.DecideRequest(approval_id=record.approval_id, decision=decision)


async def test_what_is_within(services: Services, limited: Asking) -> None:
    ours = await waiting(services, CORE)
    assert dict(ours.workspace_labels) == {"team": "core", "tier": "1"}
    assert (await limited.runs.GetRun(o.GetRunRequest(run_id=ours.run_id))).run.run_id == ours.run_id
    decided = (await limited.approvals.Decide(approve(ours))).approval
    assert decided.decision.subject == "ada"
    assert decided.decision.authentication.startswith("token:tok-")
    await until(services.orchestrator.stub, ours.run_id, "COMPLETED")


async def test_what_is_not(services: Services, limited: Asking) -> None:
    ours, theirs = await waiting(services, CORE), await waiting(services, OTHER)
    run = theirs.run_id
    refused = [
        limited.runs.GetRun(o.GetRunRequest(run_id=run)),
        limited.runs.CancelRun(o.CancelRunRequest(run_id=run)),
        limited.runs.ForkRun(fork_pb2.ForkRunRequest(run_id=run)),
        limited.runs.ForkRun(fork_pb2.ForkRunRequest(run_id=ours.run_id, workspace_path="/srv/new")),
        limited.runs.CompareRuns(fork_pb2.CompareRunsRequest(run_a=ours.run_id, run_b=run)),
        limited.runs.RecordDecision(
            o.RecordDecisionRequest(approval_id=theirs.approval_id, decision=approve(theirs).decision)
        ),
        limited.runs.CreateRun(o.CreateRunRequest(goal="mine", workspace_id=OTHER)),
        limited.runs.RemoveWorkspace(o.RemoveWorkspaceRequest(workspace_id=OTHER)),
        limited.approvals.GetApproval(a.GetApprovalRequest(approval_id=theirs.approval_id)),
        limited.approvals.Decide(approve(theirs)),
    ]
    for call in refused:
        assert await reason_of(call) is Reason.PERMISSION_DENIED
    state = (await services.orchestrator.stub.GetRun(o.GetRunRequest(run_id=run))).run.state
    assert state == run_pb2.RUN_STATE_AWAITING_APPROVAL


async def test_a_run_cannot_claim_a_label_that_its_workspace_has_not(
    services: Services, limited: Asking
) -> None:
    stub = services.orchestrator.stub
    run = await create(stub, workspace_id=OTHER, labels={"team": "core"})
    assert (
        await reason_of(limited.runs.GetRun(o.GetRunRequest(run_id=run.run_id))) is Reason.PERMISSION_DENIED
    )


async def test_lists_and_feeds_leave_out_what_is_not(services: Services, limited: Asking) -> None:
    ours, theirs = await waiting(services, CORE), await waiting(services, OTHER)
    listed = (await limited.runs.ListRuns(o.ListRunsRequest())).runs
    assert {run.run_id for run in listed} == {ours.run_id}
    records = (await limited.approvals.ListApprovals(a.ListApprovalsRequest())).approvals
    assert {record.workspace_id for record in records} == {CORE}
    assert await limited.pending() == {CORE}
    everything = await asking(services, (await services.issue("viewer")).text)
    assert await everything.pending() == {CORE, OTHER}
    assert {run.run_id for run in (await everything.runs.ListRuns(o.ListRunsRequest())).runs} == {
        ours.run_id,
        theirs.run_id,
    }


async def test_the_orchestrators_own_feed_leaves_them_out_too(services: Services, limited: Asking) -> None:
    await waiting(services, CORE)
    await waiting(services, OTHER)
    call, found = limited.runs.WatchApprovals(o.WatchApprovalsRequest()), set()
    async for frame in call:
        found |= {event.approval.workspace_id for event in frame.events}
        if frame.caught_up:
            break
    call.cancel()
    assert found == {CORE}


async def test_what_is_about_everything_is_closed(services: Services, limited: Asking) -> None:
    issued = await services.issue("operator", "viewer", scope={"team": "core"})
    stub: Any = executor_pb2_grpc.ExecutorStub(await services.channel("Executor", issued.text))
    reason = await reason_of(stub.GetStorage(executor_pb2.GetStorageRequest()))
    assert reason is Reason.PERMISSION_DENIED
    access = await services.access(issued.text)
    assert (await access.WhoAmI(access_pb2.WhoAmIRequest())).caller.subject == "ada"
