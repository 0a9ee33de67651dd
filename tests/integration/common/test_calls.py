"""Every layer of the server, over a real connection, in all four shapes of rpc."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from tests.support.echo import SERVICE, SHAPES, Echo, add_to_server, call, message

from interlock.common.client import channel, rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.common.server import ServerSpec, running
from interlock.v1 import approval_pb2, approval_pb2_grpc

ALL = (*SHAPES, "Writer")
MEBI = 1024 * 1024


class Served:
    def __init__(self, echo: Echo, address: str) -> None:
        self.echo = echo
        self.address = address

    @asynccontextmanager
    async def channel(self, token: str = "master", **options: Any) -> AsyncIterator[Any]:
        async with channel(self.address, token, **options) as opened:
            yield opened

    async def ask(self, shape: str, *requests: Struct, token: str = "master", **options: Any) -> list[Struct]:
        async with self.channel(token) as opened:
            with rpc_errors("echo"):
                return await call(opened, shape, *requests, **options)

    async def fails(self, shape: str, *requests: Struct, **options: Any) -> InterlockError:
        with pytest.raises(InterlockError) as caught:
            await self.ask(shape, *requests, **options)
        return caught.value


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    echo = Echo()
    spec = ServerSpec(
        "echo",
        "127.0.0.1:0",
        [(echo, add_to_server, SERVICE)],
        ["master", "old"],
        max_message_bytes=MEBI,
        grace_seconds=0.1,
    )
    async with running(spec) as address:
        yield Served(echo, str(address))


@pytest.mark.parametrize("shape", ALL)
class TestEveryShape:
    async def test_accepted(self, served: Served, shape: str) -> None:
        answers = await served.ask(shape, message(text="hello"))
        assert all(answer["text"] == "hello" and answer["subject"] == "local" for answer in answers)
        assert answers

    async def test_rotated_token_is_still_accepted(self, served: Served, shape: str) -> None:
        assert await served.ask(shape, message(), token="old")

    @pytest.mark.parametrize("token", ["", "wrong"])
    async def test_refused_before_the_handler_sees_anything(
        self, served: Served, shape: str, token: str
    ) -> None:
        error = await served.fails(shape, message(), token=token)
        assert error.reason is Reason.UNAUTHENTICATED
        assert served.echo.seen == []

    async def test_claimed_subject_needs_the_master_token(self, served: Served, shape: str) -> None:
        claim = (("x-interlock-subject", "ada"), ("x-interlock-roles", "service"))
        answers = await served.ask(shape, message(), metadata=claim)
        assert answers[0]["subject"] == "ada"
        error = await served.fails(shape, message(), token="old", metadata=claim)
        assert error.reason is Reason.PERMISSION_DENIED

    async def test_typed_error_arrives_whole(self, served: Served, shape: str) -> None:
        error = await served.fails(shape, message(do="fail"))
        assert error.reason is Reason.RUN_NOT_FOUND
        assert str(error) == "There is no run run-1."
        assert error.field == "run_id"
        assert error.metadata["request_id"].startswith("req-")

    async def test_unknown_exception_is_hidden(self, served: Served, shape: str) -> None:
        async with served.channel() as opened:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(opened, shape, message(do="crash"))
        wire = repr(caught.value) + repr(caught.value.trailing_metadata())
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in wire
        assert "ZeroDivision" not in wire
        assert "request id req-" in (caught.value.details() or "")

    async def test_status_chosen_by_the_handler_is_kept(self, served: Served, shape: str) -> None:
        async with served.channel() as opened:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(opened, shape, message(do="abort"))
        assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
        assert caught.value.details() == "chosen by the handler"

    async def test_request_over_the_limit(self, served: Served, shape: str) -> None:
        error = await served.fails(shape, message(text="x" * (MEBI + 1)))
        assert error.reason is Reason.MESSAGE_TOO_LARGE
        assert error.metadata["limit"] == str(MEBI)
        assert served.echo.seen == []

    async def test_request_over_the_transport_limit(self, served: Served, shape: str) -> None:
        async with served.channel(max_message_bytes=64 * MEBI) as opened:
            with pytest.raises(InterlockError) as caught, rpc_errors():
                await call(opened, shape, message(text="x" * (6 * MEBI)))
        assert caught.value.reason in (Reason.MESSAGE_TOO_LARGE, Reason.RESOURCE_EXHAUSTED)
        assert served.echo.seen == []

    async def test_response_over_the_limit(self, served: Served, shape: str) -> None:
        error = await served.fails(shape, message(do="grow", size=MEBI + 1))
        assert error.reason is Reason.MESSAGE_TOO_LARGE
        assert "response" in str(error)

    async def test_malformed_request(self, served: Served, shape: str) -> None:
        async with served.channel() as opened:
            with pytest.raises(InterlockError) as caught, rpc_errors():
                await _call_raw(opened, shape, b"\xff\xff not protobuf")
        assert caught.value.reason is Reason.INVALID_ARGUMENT

    async def test_client_that_goes_away_cancels_its_handler(self, served: Served, shape: str) -> None:
        asking = asyncio.ensure_future(served.ask(shape, message(do="wait")))
        await served.echo.entered.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        async with asyncio.timeout(10):
            await served.echo.cancelled.wait()

    async def test_deadline(self, served: Served, shape: str) -> None:
        error = await served.fails(shape, message(do="wait"), timeout=0.2)
        assert error.reason is Reason.DEADLINE_EXCEEDED

    async def test_request_id_of_the_caller_is_kept(self, served: Served, shape: str) -> None:
        error = await served.fails(shape, message(do="fail"), metadata=(("x-request-id", "mine-7"),))
        assert error.metadata["request_id"] == "mine-7"

    async def test_malformed_request_id_is_replaced(self, served: Served, shape: str) -> None:
        error = await served.fails(shape, message(do="fail"), metadata=(("x-request-id", 'a" b'),))
        assert error.metadata["request_id"].startswith("req-")


async def _call_raw(opened: Any, shape: str, raw: bytes) -> None:
    async def one() -> AsyncIterator[bytes]:
        yield raw

    path = f"/{SERVICE}/{shape}"
    if shape == "Unary":
        await opened.unary_unary(path)(raw)
    elif shape == "ClientStream":
        await opened.stream_unary(path)(one())
    elif shape == "Both":
        async for _ in opened.stream_stream(path)(one()):
            pass
    else:
        async for _ in opened.unary_stream(path)(raw):
            pass


async def test_second_message_of_a_stream_is_checked_too(served: Served) -> None:
    error = await served.fails("Both", message(text="fine"), message(text="x" * (MEBI + 1)))
    assert error.reason is Reason.MESSAGE_TOO_LARGE
    assert len(served.echo.seen) == 1


async def test_unknown_method(served: Served) -> None:
    error = await served.fails("NoSuch", message())
    assert error.reason is Reason.INTERNAL
    assert error.metadata["grpc_code"] == "UNIMPLEMENTED"


async def test_success_carries_its_request_id(served: Served) -> None:
    async with served.channel() as opened:
        unary = opened.unary_unary(
            f"/{SERVICE}/Unary",
            request_serializer=Struct.SerializeToString,
            response_deserializer=Struct.FromString,
        )(message())
        await unary
        assert dict(await unary.trailing_metadata())["x-request-id"].startswith("req-")


async def test_too_many_calls_at_once_are_refused() -> None:
    echo = Echo()
    spec = ServerSpec(
        "echo", "127.0.0.1:0", [(echo, add_to_server, SERVICE)], "t", max_concurrent_rpcs=1, grace_seconds=0.1
    )
    async with running(spec) as address, channel(address, "t") as opened:
        first = asyncio.ensure_future(call(opened, "Unary", message(do="wait")))
        await echo.entered.wait()
        with pytest.raises(InterlockError) as caught, rpc_errors():
            await call(opened, "Unary", message())
        assert caught.value.reason is Reason.RESOURCE_EXHAUSTED
        echo.released.set()
        assert len(await first) == 1


class _Approvals(approval_pb2_grpc.ApprovalServicer):
    async def Decide(self, request: Any, context: Any) -> Any:
        return approval_pb2.DecideResponse()

    async def ListApprovals(self, request: Any, context: Any) -> Any:
        return None


class TestDeclaredRules:
    @pytest.fixture
    async def stub(self) -> AsyncIterator[approval_pb2_grpc.ApprovalAsyncStub]:
        add = approval_pb2_grpc.add_ApprovalServicer_to_server
        spec = ServerSpec(
            "x", "127.0.0.1:0", [(_Approvals(), add, "interlock.v1.Approval")], "t", grace_seconds=0
        )
        async with running(spec) as address, channel(address, "t") as opened:
            yield approval_pb2_grpc.ApprovalStub(opened)  # type: ignore[misc,arg-type]

    async def test_every_broken_field_is_listed(self, stub: Any) -> None:
        with pytest.raises(InterlockError) as caught, rpc_errors():
            await stub.Decide(approval_pb2.DecideRequest(step=-1))
        assert caught.value.reason is Reason.VALIDATION_FAILED
        assert {violation.field for violation in caught.value.violations} == {"step", "decision"}

    async def test_valid_request_passes(self, stub: Any) -> None:
        request = approval_pb2.DecideRequest(approval_id="apr-1")
        request.decision.approve.SetInParent()
        request.decision.digest = "sha256:" + "0" * 64
        assert await stub.Decide(request) == approval_pb2.DecideResponse()

    async def test_handler_that_answers_nothing_is_a_defect(self, stub: Any) -> None:
        with pytest.raises(InterlockError) as caught, rpc_errors():
            await stub.ListApprovals(approval_pb2.ListApprovalsRequest())
        assert caught.value.reason is Reason.INTERNAL

    async def test_generated_method_without_handler(self, stub: Any) -> None:
        with pytest.raises(InterlockError) as caught, rpc_errors():
            await stub.GetApproval(approval_pb2.GetApprovalRequest(approval_id="apr-1"))
        assert caught.value.reason is Reason.INTERNAL
