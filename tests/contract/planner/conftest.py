from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from tests.support.models import KEY, MODEL, ScriptedServer, Waits, scripted
from tests.support.models_local import SharedModel

from interlock.planner.gateways.base import Gateway, GatewayInfo
from interlock.planner.gateways.openai import OpenAIGateway
from interlock.planner.gateways.router import RouterGateway
from interlock.planner.gateways.transport import Limits, Transport


@pytest.fixture(scope="session")
def local_model() -> Iterator[SharedModel]:
    shared = SharedModel()
    yield shared
    shared.stop()


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted() as running:
        yield running


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
async def make(server: ScriptedServer, waits: Waits) -> AsyncIterator[Callable[..., Gateway]]:
    """Makes an ``openai`` or ``router`` gateway on the scripted server."""
    made: list[Gateway] = []

    def build(kind: str, **limits: int) -> Gateway:
        bounds = Limits(
            attempts=limits.pop("attempts", 3), reply_bytes=limits.pop("reply_bytes", 1024 * 1024)
        )
        header = {"authorization": f"Bearer {KEY}"} if kind == "openai" else {"x-api-key": KEY}
        base = server.url + ("/v1/" if kind == "openai" else "/")
        transport = Transport(base, header, bounds, trust_env=False, sleep=waits, jitter=lambda: 0.5)
        chars = limits.pop("max_prompt_chars", 60_000)
        if kind == "openai":
            gateway: Gateway = OpenAIGateway(
                GatewayInfo("openai", MODEL, base, max_prompt_chars=chars), transport
            )
        else:
            info = GatewayInfo("router", "router", base, max_prompt_chars=chars, dialect="router")
            gateway = RouterGateway(info, transport)
        made.append(gateway)
        return gateway

    yield build
    for gateway in made:
        await gateway.aclose()
