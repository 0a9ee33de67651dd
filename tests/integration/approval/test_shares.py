"""One caller cannot take the subscriptions of all."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace

from tests.support.approvals import CONFIG, PENDING, REQUESTED, Caller
from tests.support.fake_orchestrator import FakeOrchestrator, record

from interlock.approval.server import build
from interlock.common.access.guard import Guard
from interlock.common.addresses import parse_address
from interlock.common.client import channel
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity
from interlock.common.server import running

EACH = 3


class ByToken:
    """Everybody is who the token says."""

    async def authenticate(self, metadata: Mapping[str, str]) -> Identity:
        name = metadata["authorization"].removeprefix("Bearer ")
        kind = "shared" if name == "service" else "issued"
        return Identity(name, roles=frozenset({"viewer"}), authentication=kind)


async def test_a_caller_with_all_its_subscriptions_is_refused_another(
    fake: FakeOrchestrator, upstream: str
) -> None:
    await fake.request(record(1))
    config = replace(CONFIG, orchestrator=parse_address(upstream), subscriptions_each=EACH)
    spec = replace(build(config), guard=Guard(ByToken()))
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(running(spec))
        ada, bob, service = [
            Caller(await stack.enter_async_context(channel(address, name)))
            for name in ("ada", "bob", "service")
        ]
        await ada.wait_healthy()
        held = [ada.subscribe() for _ in range(EACH)]
        for reader in held:
            assert await reader.until_caught_up() == [(PENDING, 1)]
        error = await ada.subscribe().fails()
        assert error.reason is Reason.RESOURCE_EXHAUSTED
        assert error.metadata["limit"] == str(EACH)
        others = [bob.subscribe(), *(service.subscribe() for _ in range(EACH + 1))]
        for reader in others:
            assert await reader.until_caught_up() == [(PENDING, 1)]
        await fake.request(record(2))
        for reader in (*held, *others):
            assert await reader.events(1) == [(REQUESTED, 2)]
        held[0].stop()
        while await _is_refused(ada):
            pass  # until the service knows that the other one is gone


async def _is_refused(caller: Caller) -> bool:
    try:
        await caller.subscribe().next()
    except InterlockError as error:
        assert error.reason is Reason.RESOURCE_EXHAUSTED  # noqa: PT017 (another reason would be a defect)
        return True
    return False
