"""`python -m interlock.approval` as a process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.fake_orchestrator import FakeOrchestrator, record, serving
from tests.support.processes import python_module

from interlock.common.client import channel, rpc_errors
from interlock.common.config import load_token
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import approval_pb2 as pb
from interlock.v1 import approval_pb2_grpc


def environment(tmp_path: Path, upstream: str) -> dict[str, str]:
    return {
        "INTERLOCK_DATA_DIR": str(tmp_path / "data"),
        "INTERLOCK_APPROVAL_ADDRESS": f"unix:{tmp_path}/approval.sock",
        "INTERLOCK_ORCHESTRATOR_ADDRESS": upstream,
    }


async def _to_the_end(messages: AsyncIterator[Any]) -> None:
    with rpc_errors():
        async with asyncio.timeout(20):
            async for _ in messages:
                pass


async def test_serves_until_sigterm(tmp_path: Path) -> None:
    fake = FakeOrchestrator()
    ready = tmp_path / "ready"
    await fake.request(record(1))
    token = load_token(env={"INTERLOCK_DATA_DIR": str(tmp_path / "data")})
    async with serving(fake, token=token) as upstream:
        env = environment(tmp_path, upstream)
        arguments = ("--ready-file", str(ready))
        async with python_module(tmp_path / "log", "interlock.approval", *arguments, env=env) as child:
            address = await child.wait_for_file(ready)
            assert address == f"unix:{tmp_path}/approval.sock"
            async with channel(address, token) as opened:
                call = approval_pb2_grpc.ApprovalStub(opened).Subscribe(pb.SubscribeRequest())  # type: ignore[attr-defined]
                messages = call.__aiter__()
                first = await anext(messages)
                assert first.event.approval.title == "approval 1"
                child.process.terminate()
                with pytest.raises(InterlockError) as caught:
                    await _to_the_end(messages)
                assert caught.value.reason is Reason.UNAVAILABLE
                assert caught.value.metadata["cursor"]
            assert await child.wait() == 0
            lines = [json.loads(line) for line in child.log.splitlines()]
    assert {line["service"] for line in lines} == {"interlock-approval"}
    assert not [line for line in lines if "exception" in line]


async def test_wrong_variable_is_one_line_and_code_2(tmp_path: Path) -> None:
    env = {**environment(tmp_path, "nowhere"), "INTERLOCK_ORCHESTRATOR_ADDRESS": "nowhere"}
    async with python_module(tmp_path / "log", "interlock.approval", env=env) as child:
        assert await child.wait() == 2
        (line,) = child.log.splitlines()
    assert json.loads(line)["field"] == "INTERLOCK_ORCHESTRATOR_ADDRESS"


async def test_wrong_argument_is_a_usage_message(tmp_path: Path) -> None:
    async with python_module(tmp_path / "log", "interlock.approval", "--no-such") as child:
        assert await child.wait() == 2
        assert child.log.startswith("usage: python -m interlock.approval")
