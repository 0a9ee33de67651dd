"""Commands with network in a run: shown before they run, journaled, and never run again by themselves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.stack import COMMAND, EFFECT, NONE, Stack, command, stack

from interlock.common.client import rpc_errors
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import step_pb2


class Shop:
    """A server to which every request is an order; it answers when it may."""

    def __init__(self) -> None:
        self.orders = 0
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.orders += 1
            self.asked.set()
            await self.may_answer.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nordered\n")
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    def order(self, **spec: Any) -> step_pb2.StepSpec:
        """A step that orders."""
        line = f"echo before >> text.txt; curl -sS -X POST http://shop.test:{self.port}/ > bill"
        return command(line, network=[f"shop.test:{self.port}"], **spec)


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    made = Shop()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made
        made.may_answer.set()


@pytest.fixture(name="stack")
async def fixture_stack(place: Path, database_url: str, shop: Shop) -> AsyncIterator[Stack]:
    settings = {
        "INTERLOCK_NETWORK": "allowlist",
        "INTERLOCK_NETWORK_HOSTS": f"shop.test:{shop.port}",
        "INTERLOCK_NETWORK_RANGES": "127.0.0.0/8",
        "INTERLOCK_NETWORK_ADDRESSES": "shop.test=127.0.0.1",
    }
    async with stack(place, database_url, **settings) as both:
        yield both


async def killed_while_ordering(stack: Stack, shop: Shop, live: Path, gate: Any) -> str:
    """A run whose executor was killed after the order arrived, and is back."""
    (live / "text.txt").write_text("first\n")
    run = await stack.run(
        await stack.executor.workspace(live), shop.order(gate=gate, retries=3), command("echo later > later")
    )
    if gate != NONE:
        await stack.decide(await stack.pending(run))
    await shop.asked.wait()
    await stack.executor.kill()
    await stack.executor.start()
    return run


@pytest.mark.parametrize("gate", [COMMAND, NONE])
async def test_killed_under_way_it_waits_for_a_person_and_retry_asks_again(
    stack: Stack, shop: Shop, live: Path, gate: Any
) -> None:
    run = await killed_while_ordering(stack, shop, live, gate)
    paused = await stack.until(run, "PAUSED")
    step = paused.steps[0]
    assert step.state == step_pb2.STEP_STATE_OUTCOME_UNKNOWN
    assert step.failure.reason == "OUTCOME_UNKNOWN"
    assert (shop.orders, paused.steps[1].state) == (1, step_pb2.STEP_STATE_PENDING), (
        "nothing went on by itself"
    )
    assert (live / "text.txt").read_text() == "first\n"
    shop.may_answer.set()
    with rpc_errors("orchestrator"):
        await stack.stub.RetryStep(o.RetryStepRequest(run_id=run, step=1))
    if gate != NONE:
        await stack.decide(await stack.pending(run))
    await finish(stack, run)
    done = await stack.until(run, "COMPLETED")
    assert (shop.orders, done.steps[0].attempt) == (2, 2)
    assert (live / "bill").read_text() == "ordered\n"
    assert (live / "text.txt").read_text() == "first\nbefore\n"


async def test_killed_under_way_and_skipped_the_run_goes_on(stack: Stack, shop: Shop, live: Path) -> None:
    run = await killed_while_ordering(stack, shop, live, NONE)
    await stack.until(run, "PAUSED")
    with rpc_errors("orchestrator"):
        await stack.stub.SkipStep(o.SkipStepRequest(run_id=run, step=1, comment="it was delivered"))
    await finish(stack, run)
    done = await stack.until(run, "COMPLETED")
    assert (shop.orders, done.steps[0].state) == (1, step_pb2.STEP_STATE_SKIPPED)
    assert sorted(os.listdir(live)) == ["later", "text.txt"]


async def finish(stack: Stack, run: str) -> None:
    """Approves the second step."""
    await stack.decide(await stack.pending(run))


async def test_the_approval_shows_the_hosts_and_is_about_the_command(
    stack: Stack, shop: Shop, live: Path
) -> None:
    shop.may_answer.set()
    run = await stack.run(await stack.executor.workspace(live), shop.order(gate=EFFECT))
    shown = await stack.pending(run)
    assert shown.gate == COMMAND
    assert list(shown.spec.input.run_command.network) == [f"shop.test:{shop.port}"]
    assert "cannot be previewed" in shown.gate_note
    assert (shop.orders, shown.digest) == (0, shown.preview.request_digest)
    await stack.decide(shown)
    done = await stack.until(run, "COMPLETED")
    assert shop.orders == 1
    (attempt,) = done.steps[0].effect.network.attempts
    assert (attempt.host, attempt.port, attempt.allowed) == ("shop.test", shop.port, True)
    stack.forget_payloads()
    again = await stack.until(run, "COMPLETED")
    assert again.steps[0].effect.network == done.steps[0].effect.network, "it is in the journal"


async def test_a_host_that_the_executor_does_not_allow_fails_the_step_before_it_asks(
    stack: Stack, shop: Shop, live: Path
) -> None:
    step = command("true", network=["elsewhere.test:443"], gate=COMMAND)
    run = await stack.run(await stack.executor.workspace(live), step)
    failed = await stack.until(run, "FAILED")
    assert failed.failure.reason == "NETWORK_NOT_AVAILABLE"
    assert "elsewhere.test:443" in failed.failure.message


FLOOD = """
import socket
name = ".".join(["a" * 61] * 4)
for number in range(1100):
    with socket.create_connection(("127.0.0.1", 3128)) as s:
        s.sendall(f"CONNECT x{number}.{name}:443 HTTP/1.1\\r\\n\\r\\n"[:300].encode())
        s.recv(100)
"""


async def test_a_step_that_asks_for_very_much_has_a_bounded_record(
    stack: Stack, shop: Shop, live: Path
) -> None:
    """Names as long as they may be, and more of them than are kept: the event is written, and the run goes on."""
    step = command(f"python3 - <<'E'\n{FLOOD}E\n", network=[f"shop.test:{shop.port}"], gate=NONE)
    run = await stack.run(await stack.executor.workspace(live), step)
    done = await stack.until(run, "COMPLETED")
    report = done.steps[0].effect.network
    assert (len(report.attempts), report.attempts_total, report.refused_total) == (1000, 1100, 1100)
    assert all(len(each.host) <= 300 and len(each.detail) <= 300 for each in report.attempts)
    assert report.ByteSize() < 1 << 20
    stack.forget_payloads()
    assert (await stack.until(run, "COMPLETED")).steps[0].effect.network == report, "it is in the journal"
