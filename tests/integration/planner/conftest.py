from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import grpc
import pytest
from tests.support.models import KEY, MODEL, ScriptedServer, scripted

from interlock.common.client import channel, error_from_rpc
from interlock.common.errors import InterlockError
from interlock.common.server import running
from interlock.planner.config import load
from interlock.planner.server import build_spec
from interlock.v1.planner_pb2_grpc import PlannerStub

TOKEN = "planner-test-token"


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted() as running_server:
        yield running_server


Planner = Callable[..., AbstractAsyncContextManager[PlannerStub]]


@pytest.fixture
def planner(server: ScriptedServer) -> Planner:
    """A planner served over real gRPC, on the scripted model server; keywords are further settings."""

    @asynccontextmanager
    async def serving(gateway: str = "openai", **settings: str) -> AsyncIterator[PlannerStub]:
        env = {
            "INTERLOCK_PLANNER_ADDRESS": "127.0.0.1:0",
            "INTERLOCK_MODEL_GATEWAY": gateway,
            "INTERLOCK_MODEL_BASE_URL": server.url + ("/v1" if gateway == "openai" else ""),
            "INTERLOCK_MODEL_NAME": MODEL,
            "INTERLOCK_MODEL_API_KEY": KEY,
            "INTERLOCK_MODEL_ATTEMPTS": "1",
            **settings,
        }
        async with running(build_spec(load(env), TOKEN)) as address, channel(address, TOKEN) as opened:
            yield PlannerStub(opened)

    return serving


async def failing(call: grpc.aio.UnaryUnaryCall) -> InterlockError:
    """The error that a call ends with, which does not show the key."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = error_from_rpc(caught.value, "planner")
    assert KEY not in f"{error} {error.fix} {error.metadata}"
    return error
