"""Listening, readiness, health, reflection and drain."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.support.echo import SERVICE, Echo, add_to_server, call, message

from interlock.common.addresses import Address
from interlock.common.client import channel, rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.common.health import Health
from interlock.common.server import ServerSpec, running, serve

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def spec(echo: Echo, address: str | Address = "127.0.0.1:0", **options: Any) -> ServerSpec:
    return ServerSpec("echo", address, [(echo, add_to_server, SERVICE)], "t", **options)


async def check(opened: Any, service: str = "") -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    response = await health_pb2_grpc.HealthStub(opened).Check(request)
    return int(response.status)


class TestListening:
    async def test_unix_socket_is_private(self, tmp_path: Path) -> None:
        path = tmp_path / "run" / "echo.sock"
        async with running(spec(Echo(), Address(path=str(path)))) as address:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            async with channel(address, "t") as opened:
                assert await call(opened, "Unary", message())

    async def test_socket_left_by_a_dead_process_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "echo.sock"
        import socket

        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        async with running(spec(Echo(), Address(path=str(path)))) as address, channel(address, "t") as opened:
            assert await call(opened, "Unary", message())

    async def test_taken_socket_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        address = Address(path=str(tmp_path / "echo.sock"))
        async with running(spec(Echo(), address)), channel(address, "t") as opened:
            with pytest.raises(InterlockError) as caught:
                await serve(spec(Echo(), address), signals=False)
            assert caught.value.reason is Reason.UNAVAILABLE
            assert await call(opened, "Unary", message())

    async def test_a_file_is_not_replaced_by_a_socket(self, tmp_path: Path) -> None:
        (tmp_path / "precious").write_text("data")
        with pytest.raises(InterlockError) as caught:
            await serve(spec(Echo(), Address(path=str(tmp_path / "precious"))), signals=False)
        assert caught.value.reason is Reason.INVALID_ARGUMENT
        assert (tmp_path / "precious").read_text() == "data"

    async def test_taken_port_is_refused(self) -> None:
        async with running(spec(Echo())) as address:
            with pytest.raises(InterlockError) as caught:
                await serve(spec(Echo(), address), signals=False)
        assert caught.value.reason is Reason.UNAVAILABLE
        assert str(address) in str(caught.value)

    async def test_bound_address_is_announced_in_every_way(self, tmp_path: Path) -> None:
        heard: list[Address] = []
        reader, writer = os.pipe()
        ready = tmp_path / "ready"
        options = {"ready_file": ready, "ready_fd": writer, "on_ready": heard.append}
        async with running(spec(Echo(), **options)) as address:
            assert address.port > 0
            assert heard == [address]
            assert ready.read_text() == f"{address}\n"
            with os.fdopen(reader) as pipe:
                assert pipe.read() == f"{address}\n"
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("option", ["ready_file", "ready_fd"])
    async def test_place_of_the_announcement_that_cannot_be_written(
        self, tmp_path: Path, option: str
    ) -> None:
        value: Any = tmp_path / "no" / "such" if option == "ready_file" else 12_345
        with pytest.raises(InterlockError) as caught:
            await serve(spec(Echo(), **{option: value}), signals=False)
        assert caught.value.reason is Reason.INVALID_ARGUMENT
        assert caught.value.field == f"--{option.replace('_', '-')}"


class TestHooks:
    async def test_order(self) -> None:
        events: list[str] = []

        def hook(name: str) -> Any:
            async def run() -> None:
                events.append(name)

            return run

        hooks = {"on_start": hook("start"), "on_drain": hook("drain"), "on_stop": hook("stop")}
        async with running(spec(Echo(), on_ready=lambda _: events.append("ready"), **hooks)):
            events.append("inside")
        assert events == ["start", "ready", "inside", "drain", "stop"]

    async def test_failed_start_stops_and_tells(self, tmp_path: Path) -> None:
        events: list[str] = []

        async def start() -> None:
            raise InterlockError(Reason.DATABASE_REVISION_MISMATCH, "Old schema.")

        async def stop() -> None:
            events.append("stop")

        with pytest.raises(InterlockError, match="Old schema"):
            await serve(spec(Echo(), on_start=start, on_stop=stop, ready_file=tmp_path / "r"), signals=False)
        assert events == ["stop"]
        assert not (tmp_path / "r").exists()


class TestHealth:
    async def test_needs_no_token_and_covers_server_and_service(self) -> None:
        async with running(spec(Echo())) as address, channel(address) as opened:
            assert await check(opened) == SERVING
            assert await check(opened, SERVICE) == SERVING
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await check(opened, "no.such.Service")
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND

    async def test_can_be_switched(self) -> None:
        health = Health()
        await health.set(False)
        async with running(spec(Echo(), health=health)) as address, channel(address) as opened:
            assert await check(opened) == NOT_SERVING
            await health.set(True)
            assert await check(opened, SERVICE) == SERVING

    async def test_watcher_is_told_of_a_drain_and_does_not_hold_it_up(self) -> None:
        seen: list[int] = []
        stop = asyncio.Event()
        bound: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        options = {"grace_seconds": 60.0, "on_ready": bound.set_result}
        server = asyncio.ensure_future(serve(spec(Echo(), **options), stop=stop, signals=False))
        async with channel(await bound) as opened:
            async for response in health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest()):
                seen.append(response.status)
                stop.set()
        async with asyncio.timeout(30):
            await server
        assert seen == [SERVING, NOT_SERVING]


async def test_reflection_lists_the_services_without_a_token() -> None:
    async with running(spec(Echo())) as address, channel(address) as opened:
        stub = reflection_pb2_grpc.ServerReflectionStub(opened)
        requests = [reflection_pb2.ServerReflectionRequest(list_services="")]
        (answer,) = [item async for item in stub.ServerReflectionInfo(iter(requests))]
    names = {service.name for service in answer.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names


class TestDrain:
    async def test_call_under_way_is_finished_and_new_ones_are_refused(self) -> None:
        echo, stop = Echo(), asyncio.Event()
        bound: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        server = asyncio.ensure_future(
            serve(spec(echo, on_ready=bound.set_result, grace_seconds=60.0), stop=stop, signals=False)
        )
        async with channel(await bound, "t") as opened:
            waiting = asyncio.ensure_future(call(opened, "Unary", message(do="wait")))
            await echo.entered.wait()
            stop.set()
            with pytest.raises(InterlockError) as caught:
                await _call_until_refused(opened)
            assert caught.value.reason in (Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED)
            echo.released.set()
            assert len(await waiting) == 1
        await server

    async def test_call_that_does_not_end_is_cut_off_after_the_grace_period(self) -> None:
        echo, stop = Echo(), asyncio.Event()
        bound: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        server = asyncio.ensure_future(
            serve(spec(echo, on_ready=bound.set_result, grace_seconds=0.1), stop=stop, signals=False)
        )
        async with channel(await bound, "t") as opened:
            waiting = asyncio.ensure_future(call(opened, "ServerStream", message(do="wait")))
            await echo.entered.wait()
            stop.set()
            with pytest.raises(grpc.aio.AioRpcError):
                await waiting
        await server
        assert echo.cancelled.is_set()


async def _call_until_refused(opened: Any) -> None:
    async with asyncio.timeout(30):
        while True:
            with rpc_errors():
                await call(opened, "Unary", message(), timeout=1)


class TestClient:
    async def test_quiet_stream_tells_that_it_is_connected(self) -> None:
        echo = Echo()
        async with running(spec(echo, grace_seconds=0.1)) as address, channel(address, "t") as opened:
            path = f"/{SERVICE}/ServerStream"
            stream = opened.unary_stream(path, request_serializer=Struct.SerializeToString)(
                message(do="wait")
            )
            async with asyncio.timeout(20):
                await stream.wait_for_connection()
            assert not stream.done()
            stream.cancel()

    async def test_refused_stream_tells_that_it_is_not(self) -> None:
        async with running(spec(Echo())) as address, channel(address, "wrong") as opened:
            path = f"/{SERVICE}/ServerStream"
            stream = opened.unary_stream(path, request_serializer=Struct.SerializeToString)(message())
            with pytest.raises(InterlockError) as caught, rpc_errors():
                await stream.wait_for_connection()
            assert caught.value.reason is Reason.UNAUTHENTICATED

    async def test_server_that_is_not_there(self) -> None:
        async with running(spec(Echo())) as address:
            pass
        async with channel(address, "t") as opened:
            with pytest.raises(InterlockError) as caught, rpc_errors("echo"):
                await call(opened, "Unary", message())
        assert caught.value.reason is Reason.UNAVAILABLE
        assert str(caught.value) == "The echo cannot be reached."

    async def test_default_deadline_is_for_single_answers_only(self) -> None:
        echo = Echo()
        async with (
            running(spec(echo, grace_seconds=0.1)) as address,
            channel(address, "t", timeout=0.2) as opened,
        ):
            with pytest.raises(InterlockError) as caught, rpc_errors():
                await call(opened, "Unary", message(do="wait"))
            assert caught.value.reason is Reason.DEADLINE_EXCEEDED
            echo.entered.clear()
            streaming = asyncio.ensure_future(call(opened, "ServerStream", message(do="wait", times=1)))
            await echo.entered.wait()
            with pytest.raises(InterlockError), rpc_errors():
                await call(opened, "Unary", message(do="wait"))
            assert not streaming.done()
            echo.released.set()
            assert len(await streaming) == 1

    async def test_calls_wait_out_a_restart_when_retries_are_asked_for(self, tmp_path: Path) -> None:
        address = Address(path=str(tmp_path / "s"))
        async with channel(address, "t", retry=[SERVICE]) as opened:
            asking = asyncio.ensure_future(call(opened, "Unary", message(text="again"), wait_for_ready=True))
            async with running(spec(Echo(), address)):
                assert (await asking)[0]["text"] == "again"
