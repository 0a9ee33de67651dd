"""Whoever listens for what they may approve hears of it when that changes without any event of the approval."""

from __future__ import annotations

import asyncio
from typing import Any

from google.protobuf.duration_pb2 import Duration
from tests.integration.access.conftest import Services
from tests.integration.access.test_votes import approve, voter, waiting

from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import access_pb2, decision_pb2, policy_pb2
from interlock.v1 import approval_pb2 as a

ADA = policy_pb2.Policy(stages=[policy_pb2.ApprovalStage(approvers=["ada"])])
MINE = a.ApprovalFilter(for_me=True)
MINUTE = Duration(seconds=60)


class Ears:
    """A subscriber for what it may approve, that goes on as the messages say."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self._call: Any = None
        self.cursor = ""
        self.open: set[str] = set()
        self._again: set[str] = set()

    async def until(self, *wanted: str) -> None:
        """Until exactly these wait for it, as far as it was told."""
        async with asyncio.timeout(60):
            while self.open != set(wanted):
                await self.next()

    async def next(self) -> None:
        if self._call is None:
            self._call = self._stub.Subscribe(a.SubscribeRequest(filter=MINE, cursor=self.cursor))
        try:
            with rpc_errors():
                self._take(await self._call.read())
        except InterlockError as error:
            if error.reason is not Reason.CURSOR_EXPIRED:
                raise
            self.cursor, self._call = error.metadata["cursor"], None

    def leave(self) -> None:
        """Hang up, to come back with the cursor."""
        self._call.cancel()
        self._call = None

    def _take(self, message: a.SubscribeResponse) -> None:
        self.cursor = message.cursor
        event = message.event
        if message.reset:
            if message.HasField("event"):
                self._again.add(event.approval.approval_id)
            else:
                self.open, self._again = self._again, set()
        elif message.HasField("event"):
            pending = event.approval.state == decision_pb2.APPROVAL_STATE_PENDING
            (self.open.add if pending else self.open.discard)(event.approval.approval_id)


async def test_a_delegation_brings_and_takes_what_waits(services: Services) -> None:
    first = await waiting(services, ADA)
    dan = Ears(await voter(services, "dan"))
    await dan.next()
    assert not dan.open
    ada = await services.access((await services.issue("approver", subject="ada")).text)
    given = (await ada.Delegate(access_pb2.DelegateRequest(to_subject="dan", lifetime=MINUTE))).delegation
    await dan.until(first.approval_id)
    second = await waiting(services, ADA)
    await dan.until(first.approval_id, second.approval_id)
    await ada.RevokeDelegation(access_pb2.RevokeDelegationRequest(delegation_id=given.delegation_id))
    await dan.until()


async def test_the_end_of_a_token_takes_what_its_delegation_brought(services: Services) -> None:
    record = await waiting(services, ADA)
    token = await services.issue("approver", subject="ada")
    await (await services.access(token.text)).Delegate(
        access_pb2.DelegateRequest(to_subject="dan", lifetime=MINUTE)
    )
    dan = Ears(await voter(services, "dan"))
    await dan.until(record.approval_id)
    admin = await services.access()
    await admin.RevokeToken(access_pb2.RevokeTokenRequest(token_id=token.token.token_id))
    await dan.until()


async def test_who_was_away_meanwhile_hears_of_it_on_coming_back(services: Services) -> None:
    record = await waiting(services, ADA)
    stub = await voter(services, "dan")
    dan = Ears(stub)
    await dan.next()
    dan.leave()
    ada = await services.access((await services.issue("approver", subject="ada")).text)
    given = (await ada.Delegate(access_pb2.DelegateRequest(to_subject="dan", lifetime=MINUTE))).delegation
    await dan.until(record.approval_id)
    dan.leave()
    await ada.RevokeDelegation(access_pb2.RevokeDelegationRequest(delegation_id=given.delegation_id))
    await dan.until()


async def test_others_go_on_where_they_are(services: Services) -> None:
    """A delegation to one ends nobody else's stream, and what is decided is told as ever."""
    record = await waiting(services, ADA)
    stub = await voter(services, "ada")
    call = stub.Subscribe(a.SubscribeRequest(filter=MINE))
    heard: list[str] = []

    async def listen() -> None:
        async for message in call:
            assert not message.reset
            if message.HasField("event"):
                heard.append(message.event.approval.approval_id)
            if len(heard) == 2:
                return

    listening = asyncio.create_task(listen())
    dan = Ears(await voter(services, "dan"))
    await dan.next()
    token = (await services.issue("approver", subject="ada")).text
    await (await services.access(token)).Delegate(
        access_pb2.DelegateRequest(to_subject="dan", lifetime=MINUTE)
    )
    await dan.until(record.approval_id)
    await stub.Decide(approve(record))
    await asyncio.wait_for(listening, 60)
    assert heard == [record.approval_id] * 2
    await dan.until()
    call.cancel()


async def test_an_escalation_brings_it(services: Services) -> None:
    lea = Ears(await voter(services, "lea"))
    await lea.next()
    widens = policy_pb2.Policy(stages=ADA.stages, escalate_after=Duration(seconds=1), escalate_to=["lea"])
    record = await waiting(services, widens)
    await lea.until(record.approval_id)
    await (await voter(services, "lea")).Decide(approve(record))
    await lea.until()
