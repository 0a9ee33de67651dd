"""A refusal is heard by whoever is still writing, however the two meet."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from interlock.common.client import channel, error_from_rpc
from interlock.common.server import ServerSpec, running
from interlock.v1 import executor_pb2 as x
from interlock.v1 import executor_pb2_grpc

ROUNDS, AT_ONCE = 10, 30


class Nothing(executor_pb2_grpc.ExecutorServicer):
    """The two rpcs that are written to."""

    async def CollectGarbage(self, requests: Any, context: Any) -> x.CollectGarbageResponse:
        return x.CollectGarbageResponse(objects_removed=len([request async for request in requests]))

    async def Session(self, requests: Any, context: Any) -> AsyncIterator[x.SessionResponse]:
        async for _ in requests:
            yield x.SessionResponse()


async def collect(stub: Any, count: int) -> None:
    await stub.CollectGarbage(iter([x.CollectGarbageRequest()] * count))


async def iterate(stub: Any, count: int) -> None:
    await anext(aiter(stub.Session(iter([x.SessionRequest()] * count))))


async def write(stub: Any, count: int) -> None:
    call = stub.Session()
    try:
        for _ in range(4 * count):
            await call.write(x.SessionRequest())
        await call.read()
    except asyncio.InvalidStateError:  # it was over before the write began
        assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
        raise grpc.aio.AioRpcError(
            await call.code(), await call.initial_metadata(), await call.trailing_metadata()
        ) from None


async def reason_of(attempt: Any) -> str:
    try:
        await attempt
    except grpc.aio.AioRpcError as error:
        return error_from_rpc(error).reason.value
    return "OK"


@pytest.mark.parametrize("kind", [collect, iterate, write])
@pytest.mark.parametrize(("token", "ends"), [("wrong", "UNAUTHENTICATED"), ("right", "OK")])
async def test_each_end_is_the_server_s(kind: Any, token: str, ends: str) -> None:
    add = executor_pb2_grpc.add_ExecutorServicer_to_server
    spec = ServerSpec("executor", "127.0.0.1:0", [(Nothing(), add, "interlock.v1.Executor")], "right")
    heard: Counter[str] = Counter()
    async with running(spec) as address, channel(address, token) as opened:
        stub = executor_pb2_grpc.ExecutorStub(opened)
        for _ in range(ROUNDS if token == "wrong" else 1):
            calls = (reason_of(kind(stub, number % 5 + 1)) for number in range(AT_ONCE))
            heard.update(await asyncio.gather(*calls))
    assert set(heard) == {ends}
