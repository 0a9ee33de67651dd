"""Approvals that stay open, and decisions in somebody else's place: over the real services and database."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from tests.integration.access.conftest import Services
from tests.integration.access.test_votes import approve, voter, waiting
from tests.support.orchestrator import command, create, orchestrator, until
from tests.support.orchestrator import executor_server as executor
from tests.support.scripted_executor import BASE, Script, ScriptedExecutor, digest

from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import access_pb2 as pb
from interlock.v1 import approval_pb2 as a
from interlock.v1 import decision_pb2, executor_pb2, policy_pb2, step_pb2
from interlock.v1 import orchestrator_pb2 as o

SECOND = Duration(seconds=1)
ADA = policy_pb2.Policy(stages=[policy_pb2.ApprovalStage(name="team", approvers=["ada"])])
WIDENS = policy_pb2.Policy(stages=ADA.stages, remind_every=SECOND, escalate_after=SECOND, escalate_to=["lea"])
REMINDED = decision_pb2.APPROVAL_EVENT_KIND_REMINDED
ESCALATED = decision_pb2.APPROVAL_EVENT_KIND_ESCALATED


async def until_told(stub: Any, run_id: str, wanted: set[int]) -> list[a.SubscribeResponse]:
    """What a subscriber hears about a run, until each of these kinds was among it."""
    call = stub.Subscribe(a.SubscribeRequest(filter=a.ApprovalFilter(run_id=run_id)))
    heard: list[a.SubscribeResponse] = []
    async with asyncio.timeout(60):
        async for message in call:
            if message.HasField("event"):
                heard.append(message)
            if wanted <= {each.event.kind for each in heard}:
                break
    call.cancel()
    return heard


async def test_a_reminder_and_others_come_through_the_feed(services: Services) -> None:
    lea = await voter(services, "lea")
    record = await waiting(services, WIDENS)
    heard = await until_told(lea, record.run_id, {REMINDED, ESCALATED})
    reminded = next(m for m in heard if m.event.kind == REMINDED)
    assert reminded.event.approval.reminders >= 1
    assert reminded.event.approval.state == decision_pb2.APPROVAL_STATE_PENDING
    escalated = next(m for m in heard if m.event.kind == ESCALATED)
    assert list(escalated.event.approval.escalated_to) == ["lea"]
    assert list(escalated.event.approval.stages[0].approvers) == ["ada", "lea"]
    assert reminded.cursor != escalated.cursor
    answer = await lea.Decide(approve(record))
    assert answer.approval.state == decision_pb2.APPROVAL_STATE_APPROVED
    assert (answer.approval.decision.subject, answer.approval.reminders >= 1) == ("lea", True)
    await until(services.orchestrator.stub, record.run_id, "COMPLETED")


async def test_timers_go_off_after_a_restart(database_url: str) -> None:
    async with executor(ScriptedExecutor(Script())) as scripted:
        async with orchestrator(database_url, scripted) as first:
            run = await create(first.stub, command(), policy=WIDENS)
            await until(first.stub, run.run_id, "AWAITING_APPROVAL")
        async with orchestrator(database_url, scripted) as second, asyncio.timeout(60):
            call = second.stub.WatchRun(o.WatchRunRequest(run_id=run.run_id))
            types: set[str] = set()
            async for message in call:
                types.add(message.event.type)
                if {"approval.reminded", "approval.escalated"} <= types:
                    break
            call.cancel()


async def give(services: Services, by: str, to: str, **more: Any) -> pb.Delegation:
    issued = await services.issue("approver", subject=by, **more)
    stub = await services.access(issued.text)
    lifetime = Duration(seconds=600)
    answer = await stub.Delegate(pb.DelegateRequest(to_subject=to, lifetime=lifetime, note="on leave"))
    made: pb.Delegation = answer.delegation
    assert made.authentication == f"token:{issued.token.token_id}"
    return made


def in_place_of(record: decision_pb2.ApprovalRecord, subject: str) -> a.DecideRequest:
    request = approve(record)
    request.decision.on_behalf_of = subject
    return request


async def refused(call: Any) -> InterlockError:
    with pytest.raises(InterlockError) as caught, rpc_errors():
        await call
    return caught.value


async def test_a_delegation_is_used_recorded_and_ends(services: Services) -> None:
    dan = await voter(services, "dan")
    record = await waiting(services, ADA)
    assert (await refused(dan.Decide(approve(record)))).reason is Reason.PERMISSION_DENIED
    error = await refused(dan.Decide(in_place_of(record, "ada")))
    assert (error.reason, error.field) == (Reason.PERMISSION_DENIED, "decision.on_behalf_of")
    made = await give(services, "ada", "dan")
    error = await refused((await voter(services, "eve")).Decide(in_place_of(record, "ada")))
    assert error.reason is Reason.PERMISSION_DENIED
    answer = (await dan.Decide(in_place_of(record, "ada"))).approval
    given = answer.decision
    assert (given.subject, given.on_behalf_of, given.delegation_id) == ("dan", "ada", made.delegation_id)
    admin = await services.access()
    listed = (await admin.ListDelegations(pb.ListDelegationsRequest(subject="dan"))).delegations
    assert [each.delegation_id for each in listed] == [made.delegation_id]
    stranger = await services.access((await services.issue("approver", subject="eve")).text)
    revoke = pb.RevokeDelegationRequest(delegation_id=made.delegation_id)
    assert (await refused(stranger.RevokeDelegation(revoke))).reason is Reason.PERMISSION_DENIED
    gone = (await admin.RevokeDelegation(revoke)).delegation
    assert gone.HasField("revoked_at")
    another = await waiting(services, ADA)
    assert (await refused(dan.Decide(in_place_of(another, "ada")))).reason is Reason.PERMISSION_DENIED


async def test_a_delegation_ends_with_the_token_it_was_made_with(services: Services) -> None:
    dan = await voter(services, "dan")
    record = await waiting(services, ADA)
    made = await give(services, "ada", "dan")
    token_id = made.authentication.removeprefix("token:")
    await (await services.access()).RevokeToken(pb.RevokeTokenRequest(token_id=token_id))
    assert (await refused(dan.Decide(in_place_of(record, "ada")))).reason is Reason.PERMISSION_DENIED


async def test_a_delegation_reaches_no_further_than_who_gave_it(services: Services) -> None:
    dan = await voter(services, "dan")
    record = await waiting(services, ADA)
    await give(services, "ada", "dan", scope={"team": "other"})
    error = await refused(dan.Decide(in_place_of(record, "ada")))
    assert error.reason is Reason.PERMISSION_DENIED
    assert "in force here" in error.message


async def test_the_same_request_is_the_same_delegation(services: Services) -> None:
    stub = await services.access((await services.issue("approver", subject="ada")).text)
    request = pb.DelegateRequest(request_id="r-1", to_subject="dan", lifetime=Duration(seconds=60))
    first, again = (await stub.Delegate(request)).delegation, (await stub.Delegate(request)).delegation
    assert first == again
    request.to_subject = "eve"
    assert (await refused(stub.Delegate(request))).reason is Reason.REQUEST_ID_REUSED
    request.to_subject = "ada"
    assert (await refused(stub.Delegate(request))).reason is Reason.INVALID_ARGUMENT


async def test_a_decision_that_comes_first_is_kept_and_given(services: Services) -> None:
    stub, ada = services.orchestrator.stub, await voter(services, "ada")
    run = await create(stub, command(), policy=ADA, start=False)
    asked = executor_pb2.Action(run_command=step_pb2.RunCommandInput(command="true"))
    about = digest("request", BASE, asked.SerializeToString(), (run.run_id, 1, 1))
    decision = decision_pb2.Decision(approve=decision_pb2.Approve(), digest=about, comment="same")
    request = a.DecideRequest(request_id="ahead", run_id=run.run_id, step=1, decision=decision)
    kept, again = (await ada.Decide(request)).approval, (await ada.Decide(request)).approval
    assert (kept.approval_id, kept.step, kept.decision.subject) == ("", 1, "ada")
    assert kept.HasField("kept_until")
    assert kept == again, "the same request is the same decision"
    nowhere = a.DecideRequest(decision=decision)
    assert (await refused(ada.Decide(nowhere))).reason is Reason.INVALID_ARGUMENT
    await stub.StartRun(o.StartRunRequest(run_id=run.run_id))
    await until(stub, run.run_id, "COMPLETED")
    approved = [decision_pb2.APPROVAL_STATE_APPROVED]
    wanted = o.ListApprovalRecordsRequest(filter=a.ApprovalFilter(run_id=run.run_id), states=approved)
    (record,) = (await stub.ListApprovalRecords(wanted)).approvals
    assert (record.digest, record.decision.digest) == (about, about)
    assert (record.decision.subject, record.decision.comment) == ("ada", "same")
