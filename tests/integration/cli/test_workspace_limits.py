"""Limits of a workspace from the command line to the step that asks for more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from tests.support.stack import NONE, Stack, command, interlock_on, open_place, stack

from interlock.v1 import step_pb2

Run = Callable[..., Any]


@pytest.fixture
def place() -> Iterator[Path]:
    with open_place() as path:
        yield path


@pytest.fixture(name="stack")
async def fixture_stack(place: Path, database_url: str) -> AsyncIterator[Stack]:
    async with stack(place, database_url) as both:
        yield both


@pytest.fixture
def interlock(stack: Stack, place: Path) -> Run:
    return interlock_on(stack, place)


def slow(seconds: int) -> step_pb2.StepSpec:
    """A command that asks for so many seconds."""
    spec = command("true", gate=NONE)
    spec.input.run_command.timeout.CopyFrom(Duration(seconds=seconds))
    return spec


async def test_limits_from_the_command_line_to_the_step(stack: Stack, place: Path, interlock: Run) -> None:
    live = place / "live"
    live.mkdir()
    limits = ("--limit", "wall=20s", "--limit", "memory=64MiB")
    made = await interlock("workspace", "create", str(live), *limits, "-o", "json")
    assert made["limits"] == {"wall": "20s", "memoryBytes": str(64 << 20)}
    workspace = made["workspaceId"]
    listed = (await interlock("workspace", "list", "-o", "json"))["workspaces"]
    assert [each["limits"] for each in listed] == [made["limits"]]
    assert "wall 20s, memory 64.0 MiB" in await interlock("workspace", "show", workspace)

    run = await stack.run(workspace, command("true", gate=NONE), slow(5), slow(21), command("true"))
    ended = await stack.until(run, "FAILED", "COMPLETED")
    first, less, more, after = ended.steps
    assert first.state == less.state == step_pb2.STEP_STATE_SUCCEEDED
    assert more.state == step_pb2.STEP_STATE_FAILED
    assert more.failure.reason == "LIMIT_TOO_HIGH"
    told = more.failure.metadata
    assert (told["limit"], told["asked"], told["allowed"]) == ("wall_us", "21000000", "20000000")
    assert after.state == step_pb2.STEP_STATE_PENDING

    forked = await interlock("run", "fork", run, "--at-step", "2", "-o", "json")
    [copy] = [
        each
        for each in (await interlock("workspace", "list", "-o", "json"))["workspaces"]
        if each["workspaceId"] == forked["workspaceId"]
    ]
    assert copy["workspaceId"] != workspace
    assert copy["limits"] == made["limits"], "a fork works within the same"


async def test_what_is_no_limit_makes_no_workspace(place: Path, interlock: Run) -> None:
    live = place / "live"
    live.mkdir()
    for value in ("speed=1", "wall=never", "processes=0"):
        told = await interlock("workspace", "create", str(live), "--limit", value, code=2)
        assert "Write" in told
    told = await interlock("workspace", "create", str(live), "--limit", "processes=40000", code=2)
    assert "32768" in told
    assert (await interlock("workspace", "list", "-o", "json"))["workspaces"] == []
