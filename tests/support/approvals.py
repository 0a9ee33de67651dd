"""The Approval service in this process, and clients that read its subscriptions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.support.fake_orchestrator import DIGEST, approval_id

from interlock.approval.config import Config
from interlock.approval.server import SERVICE, build
from interlock.common.addresses import Address, parse_address
from interlock.common.client import channel, rpc_errors
from interlock.common.errors import InterlockError
from interlock.common.server import running
from interlock.v1 import approval_pb2 as pb
from interlock.v1 import approval_pb2_grpc
from interlock.v1 import decision_pb2 as d

PENDING, REQUESTED, RESOLVED = "PENDING", "REQUESTED", "RESOLVED"
Seen = tuple[str, int]


def seen(message: Any) -> Seen | None:
    """`(kind, number of the approval)`; None for a heartbeat."""
    if not message.HasField("event"):
        return None
    kind = d.ApprovalEventKind.Name(message.event.kind).removeprefix("APPROVAL_EVENT_KIND_")
    return kind, int(message.event.approval.approval_id.removeprefix("apr-"))


class Caller:
    """A client of the service."""

    def __init__(self, opened: Any) -> None:
        self.channel = opened
        self.stub: Any = approval_pb2_grpc.ApprovalStub(opened)

    def subscribe(self, cursor: str = "", **options: Any) -> Reader:
        return Reader(self.stub.Subscribe(pb.SubscribeRequest(cursor=cursor, **options)))

    async def decide(self, number: int, verdict: str = "approve", **options: Any) -> Any:
        metadata = options.pop("metadata", None)
        request = pb.DecideRequest(approval_id=approval_id(number), **options)
        if not request.decision.digest:
            request.decision.digest = DIGEST
        getattr(request.decision, verdict).SetInParent()
        if verdict == "edit":
            request.decision.edit.input.run_command.command = "make check"
        with rpc_errors():
            return (await self.stub.Decide(request, metadata=metadata)).approval

    async def health(self) -> int:
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        return int((await health_pb2_grpc.HealthStub(self.channel).Check(request)).status)

    async def wait_healthy(self, healthy: bool = True) -> None:
        wanted = 1 if healthy else 2
        async for message in health_pb2_grpc.HealthStub(self.channel).Watch(health_pb2.HealthCheckRequest()):
            if message.status == wanted:
                return


class Reader:
    """A subscription, read message by message."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._messages = call.__aiter__()
        self.cursor = ""
        self.last: Any = None
        self.heard: list[Seen] = []

    async def next(self) -> Seen | None:
        async with asyncio.timeout(20):
            with rpc_errors():
                self.last = await anext(self._messages)
        assert self.last.cursor
        self.cursor = self.last.cursor
        return seen(self.last)

    async def events(self, count: int) -> list[Seen]:
        found: list[Seen] = []
        while len(found) < count:
            item = await self.next()
            if item is not None:
                found.append(item)
        return found

    async def until_caught_up(self) -> list[Seen]:
        found: list[Seen] = []
        while True:
            item = await self.next()
            if item is not None:
                found.append(item)
            if self.last.caught_up:
                return found

    async def fails(self) -> InterlockError:
        with pytest.raises(InterlockError) as caught:
            await self.drain()
        return caught.value

    async def drain(self) -> list[Seen]:
        """Read until the call ends, by an error always."""
        while True:
            item = await self.next()
            self.heard += [item] if item else []

    def stop(self) -> None:
        self._call.cancel()


CONFIG = Config(
    Address("127.0.0.1", 0), Address(), "t", heartbeat_seconds=0.1, standing_seconds=0.1, grace_seconds=0.2
)


@asynccontextmanager
async def approvals(upstream: str, **options: Any) -> AsyncIterator[Caller]:
    config = replace(CONFIG, orchestrator=parse_address(upstream), **options)
    async with running(build(config)) as address, channel(address, "t") as opened:
        yield Caller(opened)


@asynccontextmanager
async def approval_server(orchestrator: Address, token: str) -> AsyncIterator[Address]:
    """The service on a free port, in front of a real orchestrator."""
    async with running(build(replace(CONFIG, orchestrator=orchestrator, token=token))) as address:
        yield address
