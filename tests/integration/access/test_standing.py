"""What answers for somebody who is not there stands no longer than the right it was given by."""

from __future__ import annotations

import asyncio
from typing import Any

from google.protobuf.duration_pb2 import Duration
from tests.integration.access.conftest import Services
from tests.support.orchestrator import command, create, until
from tests.support.scripted_executor import BASE, digest

from interlock.v1 import access_pb2 as pb
from interlock.v1 import approval_pb2 as a
from interlock.v1 import approval_pb2_grpc, decision_pb2, envelope_pb2, executor_pb2, step_pb2
from interlock.v1 import orchestrator_pb2 as o

ENDS = ["nothing", "token", "delegation", "token of the delegation"]


class Person:
    """Somebody with a token, who decides for themselves or in ada's place."""

    def __init__(
        self, services: Services, issued: pb.CreateTokenResponse, given: pb.Delegation | None
    ) -> None:
        self._services, self._issued, self._given = services, issued, given
        self.place_of = given.from_subject if given else ""

    @classmethod
    async def come(cls, services: Services, *, delegated: bool) -> Person:
        issued = await services.issue("approver", subject="dan")
        given = None
        if delegated:
            ada = await services.access((await services.issue("approver", subject="ada")).text)
            request = pb.DelegateRequest(to_subject="dan", lifetime=Duration(seconds=600))
            given = (await ada.Delegate(request)).delegation
        return cls(services, issued, given)

    async def stub(self, service: Any, name: str) -> Any:
        return service(await self._services.channel(name, self._issued.text))

    async def lose(self, what: str) -> None:
        """The right ends: nothing of it, or what is named."""
        admin = await self._services.access()
        if what == "token":
            await admin.RevokeToken(pb.RevokeTokenRequest(token_id=self._issued.token.token_id))
        elif self._given is not None and what == "delegation":
            await admin.RevokeDelegation(pb.RevokeDelegationRequest(delegation_id=self._given.delegation_id))
        elif self._given is not None and what == "token of the delegation":
            token_id = self._given.authentication.removeprefix("token:")
            await admin.RevokeToken(pb.RevokeTokenRequest(token_id=token_id))


async def types_of(services: Services, run_id: str) -> list[str]:
    events = (await services.orchestrator.stub.ListEvents(o.ListEventsRequest(run_id=run_id))).events
    return [event.type for event in events]


async def test_a_kept_decision_is_withdrawn_with_its_right(services: Services) -> None:
    for what in ENDS:
        await keep(services, what)


async def keep(services: Services, what: str) -> None:
    stub, dan = services.orchestrator.stub, await Person.come(services, delegated=what not in ENDS[:2])
    run = await create(stub, command(), start=False)
    asked = executor_pb2.Action(run_command=step_pb2.RunCommandInput(command="true"))
    about = digest("request", BASE, asked.SerializeToString(), (run.run_id, 1, 1))
    decision = decision_pb2.Decision(approve=decision_pb2.Approve(), digest=about, on_behalf_of=dan.place_of)
    approvals = await dan.stub(approval_pb2_grpc.ApprovalStub, "Approval")
    await approvals.Decide(a.DecideRequest(run_id=run.run_id, step=1, decision=decision))
    await dan.lose(what)
    await stub.StartRun(o.StartRunRequest(run_id=run.run_id))
    stays = what == "nothing"
    await until(stub, run.run_id, "COMPLETED" if stays else "AWAITING_APPROVAL")
    types = await types_of(services, run.run_id)
    assert ("approval.decided" in types, "approval.withdrawn" in types) == (stays, not stays), what


async def test_an_envelope_ends_with_its_right(services: Services) -> None:
    for what in ENDS:
        await grant(services, what)


async def grant(services: Services, what: str) -> None:
    stub, dan = services.orchestrator.stub, await Person.come(services, delegated=what not in ENDS[:2])
    run = await create(stub, command(), command())
    await until(stub, run.run_id, "AWAITING_APPROVAL")
    wanted = o.ListApprovalRecordsRequest(filter=a.ApprovalFilter(run_id=run.run_id))
    (record,) = (await stub.ListApprovalRecords(wanted)).approvals
    words = envelope_pb2.CommandPrefix(words=["true"])
    bounds = envelope_pb2.EnvelopeBounds(paths=["**"], commands=[words])
    decision = decision_pb2.Decision(
        approve=decision_pb2.Approve(envelope=bounds), digest=record.digest, on_behalf_of=dan.place_of
    )
    held = services.script.hold["propose"] = asyncio.Event()
    approvals = await dan.stub(approval_pb2_grpc.ApprovalStub, "Approval")
    await approvals.Decide(a.DecideRequest(approval_id=record.approval_id, decision=decision))
    await dan.lose(what)
    held.set()
    stays = what == "nothing"
    ended = await until(stub, run.run_id, "COMPLETED" if stays else "AWAITING_APPROVAL")
    types = await types_of(services, run.run_id)
    assert ("envelope.used" in types, "envelope.revoked" in types) == (stays, not stays), what
    if not stays:
        (envelope,) = ended.envelopes
        assert envelope.state == envelope_pb2.ENVELOPE_STATE_REVOKED
