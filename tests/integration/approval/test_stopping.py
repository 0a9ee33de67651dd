"""The service stops in good order while subscribers come and go: nothing is left for asyncio to complain about."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from tests.support.approvals import CONFIG, Caller
from tests.support.fake_orchestrator import FakeOrchestrator, record

from interlock.approval.server import build
from interlock.common.access.guard import Guard
from interlock.common.addresses import parse_address
from interlock.common.client import channel
from interlock.common.errors import InterlockError
from interlock.common.identity import Identity
from interlock.common.server import running

SUBSCRIBERS = 30


class Everybody:
    """Lets everybody in, as the holder of a shared or of an issued token."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    async def authenticate(self, metadata: Mapping[str, str]) -> Identity:
        return Identity("ada", roles=frozenset({"admin"}), authentication=self._kind)


@pytest.mark.parametrize("kind", ["shared", "issued"])
@pytest.mark.parametrize("leaving", [False, True], ids=["who stay", "who leave in that moment"])
async def test_nobody_misses_what_a_subscription_ended_with(
    fake: FakeOrchestrator, upstream: str, kind: str, leaving: bool
) -> None:
    said: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
    config = replace(CONFIG, orchestrator=parse_address(upstream))
    spec = replace(build(config), guard=Guard(Everybody(kind)))
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(AsyncExitStack())
        address = await server.enter_async_context(running(spec))
        opened = await stack.enter_async_context(channel(address, "t"))
        caller = Caller(opened)
        await caller.wait_healthy()
        readers = [caller.subscribe() for _ in range(SUBSCRIBERS)]
        for reader in readers:
            await reader.until_caught_up()
        await fake.request(record(1))
        for reader in readers:
            await reader.events(1)
        ends = [asyncio.ensure_future(_end(reader)) for reader in readers]
        if leaving:
            for reader in readers:
                reader.stop()
        await server.aclose()
        await asyncio.gather(*ends)
    gc.collect()
    await asyncio.sleep(0)
    assert said == []


async def _end(reader: Any) -> None:
    try:
        await reader.drain()
    except (InterlockError, asyncio.CancelledError):
        return
