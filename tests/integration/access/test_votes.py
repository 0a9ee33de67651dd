"""Several people have to approve: races, the feed, and what is recorded."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from tests.integration.access.conftest import Services
from tests.support.orchestrator import command, create, until

from interlock.common.client import error_from_rpc, rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import access_pb2, approval_pb2_grpc, decision_pb2, orchestrator_pb2_grpc, policy_pb2
from interlock.v1 import approval_pb2 as a
from interlock.v1 import orchestrator_pb2 as o

TWO_OF_THREE = policy_pb2.Policy(
    stages=[policy_pb2.ApprovalStage(name="team", quorum=2, approvers=["ada", "bob", "eve"])]
)
VOTED = decision_pb2.APPROVAL_EVENT_KIND_VOTED
RESOLVED = decision_pb2.APPROVAL_EVENT_KIND_RESOLVED


async def waiting(services: Services, policy: policy_pb2.Policy) -> decision_pb2.ApprovalRecord:
    """The open question of a new run's command."""
    stub = services.orchestrator.stub
    run = await create(stub, command(), policy=policy)
    await until(stub, run.run_id, "AWAITING_APPROVAL")
    wanted = o.ListApprovalRecordsRequest(filter=a.ApprovalFilter(run_id=run.run_id))
    record: decision_pb2.ApprovalRecord = (await stub.ListApprovalRecords(wanted)).approvals[0]
    return record


async def voter(services: Services, subject: str) -> Any:
    issued = await services.issue("approver", subject=subject)
    return approval_pb2_grpc.ApprovalStub(await services.channel("Approval", issued.text))


def approve(record: decision_pb2.ApprovalRecord, **more: Any) -> a.DecideRequest:
    decision = decision_pb2.Decision(approve=decision_pb2.Approve(), digest=record.digest, comment="fine")
    return a.DecideRequest(approval_id=record.approval_id, decision=decision, **more)


async def test_fifty_votes_at_once_on_two_of_three_give_one_result(services: Services) -> None:
    record = await waiting(services, TWO_OF_THREE)
    people = {name: await voter(services, name) for name in ("ada", "bob", "eve", "mallory")}
    names = (list(people) * 13)[:50]

    async def vote(name: str) -> str:
        try:
            answer = await people[name].Decide(approve(record))
        except Exception as error:  # noqa: BLE001 (told apart by its reason)
            return str(error_from_rpc(error).reason)  # type: ignore[arg-type]
        return decision_pb2.ApprovalState.Name(answer.approval.state)

    ends = Counter(await asyncio.gather(*(vote(name) for name in names)))
    assert set(ends) <= {
        "APPROVAL_STATE_PENDING",
        "APPROVAL_STATE_APPROVED",
        Reason.APPROVAL_ALREADY_VOTED,
        Reason.APPROVAL_ALREADY_DECIDED,
        Reason.PERMISSION_DENIED,
    }
    assert ends["APPROVAL_STATE_PENDING"] + ends["APPROVAL_STATE_APPROVED"] == 2
    stub = services.orchestrator.stub
    await until(stub, record.run_id, "COMPLETED")
    events = (await stub.ListEvents(o.ListEventsRequest(run_id=record.run_id))).events
    kinds = Counter(event.type for event in events)
    assert (kinds["approval.voted"], kinds["approval.decided"]) == (2, 1)


async def test_the_feed_tells_every_vote_and_then_the_decision(services: Services) -> None:
    watcher = await voter(services, "watcher")
    record = await waiting(services, TWO_OF_THREE)
    call = watcher.Subscribe(a.SubscribeRequest(filter=a.ApprovalFilter(run_id=record.run_id)))
    stream = call.__aiter__()
    while not (await anext(stream)).caught_up:
        pass
    for name in ("eve", "ada"):
        await (await voter(services, name)).Decide(approve(record))
    told: list[tuple[int, list[str], int]] = []
    async with asyncio.timeout(30):
        while len(told) < 3:
            message = await anext(stream)
            if message.HasField("event"):
                shown = message.event.approval
                people = [vote.subject for vote in shown.votes]
                told.append((message.event.kind, people, shown.stages[0].votes))
    call.cancel()
    assert told == [(VOTED, ["eve"], 1), (VOTED, ["eve", "ada"], 2), (RESOLVED, ["eve", "ada"], 2)]


async def test_what_is_recorded_of_a_vote(services: Services) -> None:
    record = await waiting(services, TWO_OF_THREE)
    ada = await voter(services, "ada")
    answer = (await ada.Decide(approve(record, request_id="once"))).approval
    assert answer.state == decision_pb2.APPROVAL_STATE_PENDING
    (vote,) = answer.votes
    assert (vote.subject, vote.stage, vote.comment, vote.channel) == ("ada", 1, "fine", "grpc")
    assert vote.authentication.startswith("token:tok-")
    (stage,) = answer.stages
    assert (stage.name, stage.quorum, stage.votes) == ("team", 2, 1)
    assert list(stage.approvers) == ["ada", "bob", "eve"]
    again = (await ada.Decide(approve(record, request_id="once"))).approval
    assert len(again.votes) == 1, "the same request is the same vote"
    with pytest.raises(InterlockError) as caught, rpc_errors():
        await ada.Decide(approve(record))
    assert caught.value.reason is Reason.APPROVAL_ALREADY_VOTED


async def test_a_new_subscriber_sees_the_votes_so_far(services: Services) -> None:
    record = await waiting(services, TWO_OF_THREE)
    await (await voter(services, "bob")).Decide(approve(record))
    call = (await voter(services, "watcher")).Subscribe(
        a.SubscribeRequest(filter=a.ApprovalFilter(run_id=record.run_id), with_preview=True)
    )
    async for message in call:
        assert [vote.subject for vote in message.event.approval.votes] == ["bob"]
        break
    call.cancel()


async def test_a_policy_that_nobody_could_satisfy_is_refused(services: Services) -> None:
    policy = policy_pb2.Policy(stages=[policy_pb2.ApprovalStage(quorum=2, approvers=["ada"])])
    with pytest.raises(InterlockError) as caught, rpc_errors():
        await create(services.orchestrator.stub, command(), policy=policy)
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, "policy.stages[0]")


async def test_what_a_person_may_approve_can_be_asked_for(services: Services) -> None:
    theirs = await waiting(services, policy_pb2.Policy(separate_requester=True))
    assert list(theirs.excluded) == [theirs.excluded[0]]
    named = await waiting(services, TWO_OF_THREE)
    chosen = a.ApprovalFilter(for_me=True)
    found: dict[str, set[str]] = {}
    for name in ("ada", "mallory", theirs.excluded[0]):
        person = await voter(services, name)
        with rpc_errors():
            listed = {
                r.approval_id
                for r in (await person.ListApprovals(a.ListApprovalsRequest(filter=chosen))).approvals
            }
        call = person.Subscribe(a.SubscribeRequest(filter=chosen))
        told: set[str] = set()
        async for message in call:
            if message.caught_up:
                break
            told.add(message.event.approval.approval_id)
        call.cancel()
        assert told == listed
        found[name] = told & {theirs.approval_id, named.approval_id}
    assert list(found.values()) == [{theirs.approval_id, named.approval_id}, {theirs.approval_id}, set()]


async def test_whose_agent_asked_cannot_approve_and_is_not_asked(services: Services) -> None:
    issued = await services.issue("operator", subject="auth0|agent-7", owner="alice")
    agent = orchestrator_pb2_grpc.OrchestratorStub(await services.channel("Orchestrator", issued.text))
    stub = services.orchestrator.stub
    run = await create(agent, command(), policy=policy_pb2.Policy(separate_requester=True))
    await until(stub, run.run_id, "AWAITING_APPROVAL")
    assert (run.created_by, run.owner) == ("auth0|agent-7", "alice")
    alice, bob = await voter(services, "alice"), await voter(services, "bob")
    mine = a.ListApprovalsRequest(filter=a.ApprovalFilter(run_id=run.run_id, for_me=True))
    assert not (await alice.ListApprovals(mine)).approvals
    (record,) = (await bob.ListApprovals(mine)).approvals
    assert list(record.excluded) == ["alice", "auth0|agent-7"]
    with pytest.raises(InterlockError) as refused, rpc_errors():
        await alice.Decide(approve(record))
    assert refused.value.reason is Reason.PERMISSION_DENIED
    assert refused.value.metadata["why"] == "owner"
    await bob.Decide(approve(record))
    await until(stub, run.run_id, "COMPLETED")
    events = (await stub.ListEvents(o.ListEventsRequest(run_id=run.run_id))).events
    assert [event.type for event in events].count("run.agent_named") == 1


async def test_in_whose_place_one_may_approve_is_asked_for_too(services: Services) -> None:
    record = await waiting(services, policy_pb2.Policy(stages=[policy_pb2.ApprovalStage(approvers=["ada"])]))
    dan = await voter(services, "dan")
    chosen = a.ApprovalFilter(run_id=record.run_id, for_me=True)

    async def first() -> str:
        async for message in dan.Subscribe(a.SubscribeRequest(filter=chosen)):
            if message.HasField("event") or message.caught_up:
                return str(message.event.approval.approval_id)
        raise AssertionError("the stream ended")

    assert not (await dan.ListApprovals(a.ListApprovalsRequest(filter=chosen))).approvals
    assert await first() == ""
    ada = await services.access((await services.issue("approver", subject="ada")).text)
    request = access_pb2.DelegateRequest(to_subject="dan", lifetime=Duration(seconds=60))
    given = (await ada.Delegate(request)).delegation
    (listed,) = (await dan.ListApprovals(a.ListApprovalsRequest(filter=chosen))).approvals
    assert listed.approval_id == record.approval_id == await first()
    await ada.RevokeDelegation(access_pb2.RevokeDelegationRequest(delegation_id=given.delegation_id))
    assert not (await dan.ListApprovals(a.ListApprovalsRequest(filter=chosen))).approvals
    assert await first() == ""


async def test_an_agents_vote_is_its_owners(services: Services) -> None:
    record = await waiting(services, policy_pb2.Policy(stages=[policy_pb2.ApprovalStage(quorum=2)]))
    issued = await services.issue("approver", subject="agent-7", owner="alice")
    agent = approval_pb2_grpc.ApprovalStub(await services.channel("Approval", issued.text))
    await agent.Decide(approve(record))
    with pytest.raises(InterlockError) as refused, rpc_errors():
        await (await voter(services, "alice")).Decide(approve(record))
    assert (refused.value.reason, refused.value.metadata["why"]) == (Reason.APPROVAL_ALREADY_VOTED, "owner")
    await (await voter(services, "bob")).Decide(approve(record))
    await until(services.orchestrator.stub, record.run_id, "COMPLETED")
