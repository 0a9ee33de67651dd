"""A run carried out again: the same where nothing changed, and otherwise the right step is named and shown."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.stack import FREE, NONE, Stack, command, edit, interlock_on, stack

from interlock.common.client import rpc_errors
from interlock.v1 import executor_pb2, step_pb2
from interlock.v1 import replay_pb2 as pb

pytestmark = pytest.mark.timeout(150)


@dataclass
class Web:
    """A server with an answer."""

    answer: bytes = b"sunny\n"
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(self.answer)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + self.answer)
        await writer.drain()
        writer.close()


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    made = Web()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


@pytest.fixture
def tool() -> Iterator[Path]:
    """A program of the machine, outside of every workspace."""
    path = Path("/usr/local/bin") / f"interlock-test-{uuid.uuid4().hex[:12]}"
    version(path, "1.0")
    yield path
    path.unlink()


def version(tool: Path, text: str) -> None:
    tool.write_text(f"#!/bin/sh\necho tool {text}\n")
    tool.chmod(0o755)


@pytest.fixture(name="stack")
async def fixture_stack(place: Path, database_url: str, web: Web) -> AsyncIterator[Stack]:
    settings = {
        "INTERLOCK_NETWORK": "allowlist",
        "INTERLOCK_NETWORK_HOSTS": f"web.test:{web.port}",
        "INTERLOCK_NETWORK_RANGES": "127.0.0.0/8",
        "INTERLOCK_NETWORK_ADDRESSES": "web.test=127.0.0.1",
    }
    async with stack(place, database_url, **settings) as both:
        yield both


def reading(path: str) -> step_pb2.StepSpec:
    return step_pb2.StepSpec(input=step_pb2.StepInput(read_file=step_pb2.ReadFileInput(path=path)))


async def finished(stack: Stack, live: Path, *steps: step_pb2.StepSpec) -> str:
    """A run over the directory in which nothing asks."""
    for step in steps:
        step.gate = NONE
    run = await stack.run(await stack.executor.workspace(live), *steps, policy=FREE)
    await stack.until(run, "COMPLETED")
    return run


async def replayed(stack: Stack, run: str, **how: Any) -> list[pb.StepReplay]:
    with rpc_errors("orchestrator"):
        call = stack.stub.ReplayRun(pb.ReplayRunRequest(run_id=run, **how))
        return [message.step async for message in call]


def outcomes(steps: list[pb.StepReplay]) -> list[str]:
    return [pb.ReplayOutcome.Name(step.outcome).removeprefix("REPLAY_OUTCOME_") for step in steps]


async def workspaces(stack: Stack) -> int:
    listed = await stack.executor.stub.ListWorkspaces(executor_pb2.ListWorkspacesRequest())
    return len(listed.workspaces)


async def test_planted_differences_are_found_at_the_right_step(
    stack: Stack, live: Path, tool: Path, web: Web, place: Path
) -> None:
    (live / "notes").write_text("one\n")
    run = await finished(
        stack,
        live,
        edit("notes", "one\ntwo\n"),
        command(f"{tool} > version; wc -l notes"),
        command(f"curl -sS http://web.test:{web.port}/ > weather", network=[f"web.test:{web.port}"]),
        command("cat version weather >&2; exit 3", on_failure=step_pb2.ON_FAILURE_CONTINUE),
        reading("weather"),
    )
    (live / "notes").write_text("changed since, by a person\n")
    same = ["SAME", "SAME", "RECORDED", "SAME", "SAME"]
    assert outcomes(await replayed(stack, run)) == same
    again = await replayed(stack, run, with_network=True)
    assert outcomes(again) == ["SAME"] * 5, [step.differences for step in again]

    version(tool, "2.0")
    (_, differs) = await replayed(stack, run)
    assert [each.field for each in differs.differences] == ["result_tree"]
    assert "-tool 1.0\n+tool 2.0\n" in differs.diff
    assert differs.note == "Paths that differ: version"
    # Each later step stands on what was recorded, so that one difference is not the cause of others.
    assert outcomes(await replayed(stack, run, all_steps=True)) == ["SAME", "DIFFERENT", *same[2:]]
    version(tool, "1.0")

    web.answer = b"rain\n"
    *before, differs = await replayed(stack, run, with_network=True)
    assert (outcomes(before), differs.step) == (["SAME", "SAME"], 3)
    assert "-sunny\n+rain\n" in differs.diff

    assert await workspaces(stack) == 1, "nothing is left over"
    assert (live / "notes").read_text() == "changed since, by a person\n"
    assert (live / "version").read_text() == "tool 1.0\n"


async def test_a_clock_is_found_by_the_command_line(stack: Stack, live: Path, place: Path) -> None:
    interlock = interlock_on(stack, place)
    run = await finished(
        stack, live, command("echo fixed > a"), command("date +%s%N"), command("date +%s%N > b; cat a")
    )
    told = await interlock("run", "replay", run, "-o", "json", code=1)
    assert (told["same"], told["firstDifference"], len(told["steps"])) == (False, 2, 2)
    (difference,) = told["steps"][1]["differences"]
    assert difference["field"] == "stdout"
    assert "recorded/stdout" in told["steps"][1]["diff"]
    shown = await interlock("run", "replay", run, "--all", code=1)
    assert "Step 2 is the first that is not as it was." in shown
    assert "Paths that differ: b" in shown
    (place / "other").mkdir()
    other = await finished(stack, place / "other", command("echo fixed > a"))
    assert "Nothing differs: 1 step carried out again, 0 not." in await interlock("run", "replay", other)


async def test_what_was_erased_cannot_be_carried_out_again(stack: Stack, live: Path, place: Path) -> None:
    interlock = interlock_on(stack, place)
    run = await finished(stack, live, edit("long", "x" * 5000), command("echo out; echo y > y"))
    await interlock("journal", "erase", run, "--everything", "--reason", "asked for")
    first, second = await replayed(stack, run)
    assert (outcomes([first]), first.note) == (["IMPOSSIBLE"], "Its input was erased.")
    assert outcomes([second]) == ["SAME"]
    assert "the tree and the exit code were compared" in second.note
