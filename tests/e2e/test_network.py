"""A step with network through `interlock up` and the command line: asked about, killed under way, then decided."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.support.installation import INTERLOCK, Installation, running
from tests.support.working import ended, pending, start, state, states, until

from interlock.v1.run_pb2 import Run


class Shop:
    """A server to which every request is an order; it answers when it may."""

    def __init__(self) -> None:
        self.orders, self.port = 0, 0
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

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


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    made = Shop()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made
        made.may_answer.set()


@pytest.fixture(scope="module")
def net() -> Iterator[Installation]:
    """One without a list of hosts, as it is by default; this machine's name for the shop is the only thing set."""
    with running(
        INTERLOCK_NETWORK_RANGES="127.0.0.0/8", INTERLOCK_NETWORK_ADDRESSES="shop.test=127.0.0.1"
    ) as installation:
        yield installation


async def cli(up: Installation, *arguments: str, code: int = 0) -> str:
    """What a person sees."""
    made = await asyncio.create_subprocess_exec(
        *INTERLOCK,
        *arguments,
        env=up.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await made.communicate()
    assert made.returncode == code, (arguments, out, err)
    assert b"Traceback" not in out + err
    return (out + err).decode()


def steps(shop: Shop) -> tuple[str, str]:
    where = f"shop.test:{shop.port}"
    line = f"echo before >> text.txt; curl -sS -X POST http://{where}/ > bill; curl -s http://other.test/ >> bill; true"
    return (
        f"{{run_command: {{command: '{line}', network: {{hosts: ['{where}']}}}}, retries: 3}}",
        "read_file: {path: text.txt}",
    )


async def killed_while_ordering(net: Installation, shop: Shop) -> tuple[Run, Path]:
    """A run under the default policy, approved on the command line, whose executor was killed after the order."""
    project = net.project(text__txt="first\n")
    async with net.client(patient=True) as client:
        run = await start(client, project, *steps(shop))
        asked = await pending(client, run)
        shown = await cli(net, "approvals", "show", asked.approval_id)
        assert f"shop.test:{shop.port}" in shown
        assert shop.orders == 0
        await cli(net, "approvals", "approve", asked.approval_id)
        await shop.asked.wait()
        net.kill("executor")
        run = await until(client, run, "OUTCOME_UNKNOWN")
    return run, project


async def test_killed_under_way_a_person_sees_it_and_may_retry(net: Installation, shop: Shop) -> None:
    run, project = await killed_while_ordering(net, shop)
    seen = await cli(net, "run", "get", run.run_id)
    assert "OUTCOME_UNKNOWN" in seen.upper()
    assert "step retry" in seen
    assert "step skip" in seen
    step = await cli(net, "step", "show", run.run_id, "1")
    assert f"shop.test:{shop.port}" in step
    assert (shop.orders, (project / "text.txt").read_text()) == (1, "first\n")
    await cli(net, "run", "resume", run.run_id, code=1)
    shop.may_answer.set()
    await cli(net, "step", "retry", run.run_id, "1")
    async with net.client(patient=True) as client:
        again = await pending(client, run)
        await cli(net, "approvals", "approve", again.approval_id)
        run = await ended(client, run)
    assert (state(run), states(run)) == ("COMPLETED", ["SUCCEEDED", "SUCCEEDED"])
    assert (shop.orders, run.steps[0].attempt) == (2, 2)
    assert (project / "text.txt").read_text() == "first\nbefore\n"
    after = await cli(net, "step", "show", run.run_id, "1")
    assert "allowed  shop.test" in after
    assert "refused  other.test:80  not_listed" in after


async def test_killed_under_way_a_person_may_skip_it(net: Installation, shop: Shop) -> None:
    run, project = await killed_while_ordering(net, shop)
    await cli(net, "step", "skip", run.run_id, "1", "--comment", "the shop has the order")
    async with net.client(patient=True) as client:
        run = await ended(client, run)
    assert (state(run), states(run)) == ("COMPLETED", ["SKIPPED", "SUCCEEDED"])
    assert shop.orders == 1
    assert sorted(path.name for path in project.iterdir()) == ["text.txt"]
    assert (project / "text.txt").read_text() == "first\n"


async def test_doctor_says_what_steps_may_reach(net: Installation) -> None:
    assert "allowlist: what a step names and is approved" in " ".join((await cli(net, "doctor")).split())
