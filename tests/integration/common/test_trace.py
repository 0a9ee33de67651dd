"""One trace across processes, received by a real OTLP receiver."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.echo import call, message
from tests.support.otlp import receiving
from tests.support.processes import python_module

from interlock.common.client import channel, rpc_errors
from interlock.common.config import load_token
from interlock.common.errors import InterlockError

MODULE = "tests.support.echo_main"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
SERVER_KIND = 2


async def test_trace_goes_on_through_two_servers(tmp_path: Path) -> None:
    async with receiving() as receiver:
        env = {"INTERLOCK_DATA_DIR": str(tmp_path), **receiver.environment()}
        async with python_module(tmp_path / "b.log", MODULE, "back", str(tmp_path / "b"), env=env) as back:
            onward = await back.wait_for_file(tmp_path / "b")
            front_arguments = ("front", str(tmp_path / "a"), onward)
            async with python_module(tmp_path / "a.log", MODULE, *front_arguments, env=env) as front:
                address = await front.wait_for_file(tmp_path / "a")
                async with channel(
                    address, load_token(False, env), metadata=(("traceparent", PARENT),)
                ) as opened:
                    await call(opened, "Unary", message(do="forward"))
                await receiver.wait_for_metric("interlock-front", "rpc.server.duration")
                front.process.terminate()
                back.process.terminate()
                assert await front.wait() == 0
                assert await back.wait() == 0
                logged = front.log
        # Both have flushed at their end: whatever is to come is here.
        spans = {(span.service, span.name): span for span in receiver.spans}
    outer = spans["interlock-front", "interlock.v1.Echo/Unary"]
    middle = spans["interlock-front", "forwarding"]
    inner = spans["interlock-back", "interlock.v1.Echo/Unary"]
    assert len(spans) == 3
    assert {span.trace_id for span in spans.values()} == {TRACE}
    assert outer.parent_id == "b7ad6b7169203331"
    assert middle.parent_id == outer.span_id
    assert inner.parent_id == middle.span_id
    assert outer.kind == inner.kind == SERVER_KIND
    assert outer.attributes["rpc.grpc.status_code"] == 0
    lines = [json.loads(line) for line in logged.splitlines()]
    assert [line["trace_id"] for line in lines if line.get("event") == "rpc"] == [TRACE]


async def test_failures_are_marked_and_their_text_is_not_exported(tmp_path: Path) -> None:
    async with receiving() as receiver:
        env = {"INTERLOCK_DATA_DIR": str(tmp_path), **receiver.environment()}
        async with python_module(tmp_path / "log", MODULE, "svc", str(tmp_path / "r"), env=env) as child:
            address = await child.wait_for_file(tmp_path / "r")
            async with channel(address, load_token(False, env)) as opened:
                for shape, do in (("Unary", "fail"), ("Both", "crash")):
                    with pytest.raises(InterlockError), rpc_errors():
                        await call(opened, shape, message(do=do))
            spans = {s.name: s for s in await receiver.wait_for(lambda spans: len(spans) >= 2)}
    refused, crashed = spans["interlock.v1.Echo/Unary"], spans["interlock.v1.Echo/Both"]
    assert refused.attributes["error.type"] == "RUN_NOT_FOUND"
    assert refused.status == 0
    assert crashed.attributes["error.type"] == "INTERNAL"
    assert crashed.status == 2
    assert "secret" not in repr(spans)


async def test_collector_that_is_away_does_not_hold_up_the_end(tmp_path: Path) -> None:
    env = {
        "INTERLOCK_DATA_DIR": str(tmp_path),
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }
    async with python_module(tmp_path / "log", MODULE, "svc", str(tmp_path / "r"), env=env) as child:
        address = await child.wait_for_file(tmp_path / "r")
        async with channel(address, load_token(False, env)) as opened:
            assert await call(opened, "Unary", message())
        child.process.terminate()
        assert await child.wait(30) == 0
