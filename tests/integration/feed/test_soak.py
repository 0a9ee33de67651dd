"""Subscribers that come and go at random see exactly what the journal holds, each in its order."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.approvals import CONFIG
from tests.support.feed_story import Happened, Story, journal, told
from tests.support.orchestrator import TOKEN, executor_server, orchestrator, pending
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.approval.server import build
from interlock.common.addresses import Address
from interlock.common.client import channel, rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.common.server import running
from interlock.v1 import approval_pb2 as pb
from interlock.v1 import approval_pb2_grpc

PER_CHANNEL = 20
_AGAIN = {Reason.UNAVAILABLE, Reason.RESOURCE_EXHAUSTED}


@dataclass
class Follower:
    """A subscriber that drops its connection after a few events, again and again, and goes on at its cursor."""

    chance: random.Random
    part: str
    cursor: str
    most: int
    """Events that a connection lasts, at most."""
    heard: list[Happened] = field(default_factory=list)
    connections: int = 0

    async def follow(self, stub: Any, lasts: dict[str, asyncio.Future[str]]) -> None:
        """Until the approval that ends its part of the story."""
        while not self._is_over(lasts):
            self.connections += 1
            try:
                await self._listen(stub, self.chance.randint(1, self.most), lasts)
            except InterlockError as error:
                if error.reason not in _AGAIN:
                    raise
                self.cursor = error.metadata.get("cursor", self.cursor)
                await asyncio.sleep(0.05)

    async def _listen(self, stub: Any, most: int, lasts: dict[str, asyncio.Future[str]]) -> None:
        wanted = pb.ApprovalFilter(labels={"part": self.part} if self.part else {})
        call = stub.Subscribe(pb.SubscribeRequest(filter=wanted, cursor=self.cursor))
        try:
            with rpc_errors():
                async for message in call:
                    self.cursor = message.cursor
                    if message.HasField("event"):
                        self.heard.append(told(message.event))
                        most -= 1
                    if most <= 0 or self._is_over(lasts):
                        return
        finally:
            call.cancel()

    def _is_over(self, lasts: dict[str, asyncio.Future[str]]) -> bool:
        last = lasts[self.part]
        return last.done() and any(approval_id == last.result() for _, _, approval_id in self.heard[-8:])


async def restarting(address: Address, upstream: Address, times: int, story: Story, total: int) -> None:
    """The service on one address, replaced by another one so many times while the story is told."""
    config = replace(CONFIG, address=address, orchestrator=upstream, token=TOKEN, grace_seconds=0.05)
    for number in range(times + 1):
        async with running(build(config)):
            while number == times or story.count < total * (number + 1) / (times + 1):  # noqa: ASYNC110 (counted)
                await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("followers", "total", "restarts"),
    [
        (20, 200, 1),
        pytest.param(200, 10_000, 10, marks=[pytest.mark.torture, pytest.mark.timeout(1500)]),
    ],
)
async def test_each_view_is_the_journal(
    database_url: str, tmp_path: Path, followers: int, total: int, restarts: int
) -> None:
    chance = random.Random(f"{followers} {total}")
    at = Address(path=str(tmp_path / "approval.sock"))
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
        AsyncExitStack() as stack,
    ):
        story = Story(it, chance)
        serving = asyncio.create_task(restarting(at, it.address, restarts, story, total))
        stubs = []
        for _ in range(0, followers, PER_CHANNEL):
            opened = await stack.enter_async_context(channel(at, TOKEN))
            stubs.append(approval_pb2_grpc.ApprovalStub(opened))
        start = await _beginning(stubs[0])
        loop = asyncio.get_running_loop()
        lasts: dict[str, asyncio.Future[str]] = {part: loop.create_future() for part in ("", *"0123")}
        people = [
            Follower(random.Random(f"{n}"), chance.choice(["", "", *"0123"]), start, total // 10)
            for n in range(followers)
        ]
        following = [
            asyncio.create_task(each.follow(stubs[n // PER_CHANNEL], lasts)) for n, each in enumerate(people)
        ]
        await story.tell(total)
        for part in "0123":
            last = await pending(it.stub, await story.begin(part=part))
            lasts[part].set_result(last.approval_id)
        lasts[""].set_result(last.approval_id)
        await asyncio.gather(*following)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        truth = await journal(it.deps.database)
    assert len(truth) >= total
    for each in people:
        wanted = [
            happened for happened, run in truth if not each.part or story.runs[run]["part"] == each.part
        ]
        assert each.heard == wanted[: len(each.heard)]
        # Others that were asked before may have come after it, before its follower knew that it was the last one.
        assert lasts[each.part].result() in [approval_id for _, _, approval_id in each.heard[-8:]]
    assert sum(each.connections for each in people) > followers


async def _beginning(stub: Any) -> str:
    """The cursor of an empty feed."""
    call = stub.Subscribe(pb.SubscribeRequest(), wait_for_ready=True)
    async for message in call:
        if message.caught_up:
            call.cancel()
            return str(message.cursor)
    raise AssertionError("the feed ended")
