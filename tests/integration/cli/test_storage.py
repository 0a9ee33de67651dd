"""`workspace du` and `workspace gc`, and what names workspaces or steps, against a real orchestrator and executor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.stack import EFFECT, NONE, Stack, edit, interlock_on, open_place, stack

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


async def test_what_workspaces_take(stack: Stack, place: Path, interlock: Run) -> None:
    ids = []
    for name in ("one", "two"):
        live = place / name
        live.mkdir()
        (live / "shared").write_bytes(b"s" * 3_000_000)
        (live / "own").write_bytes(name.encode() * 500_000)
        ids.append(await stack.executor.workspace(live))
    run = await stack.run(ids[0], edit("new", "x\n", gate=NONE), edit("new", "y\n", gate=EFFECT))
    await stack.pending(run)

    found = await interlock("workspace", "du", "-o", "json")
    one, two = sorted(found["workspaces"], key=lambda each: each["path"])
    assert [one["workspaceId"], two["workspaceId"]] == ids
    assert (one["previewsPending"], one["treesKept"]) == ("1", "3")
    assert "previewsPending" not in two
    assert two["treesKept"] == "1"
    assert int(one["liveBytes"]) == 3_000_000 + 1_500_000 + 2
    assert int(two["entries"]) == 2
    for each in (one, two):
        assert 3_000_000 < int(each["sharedBytes"]) < 3_001_000, "one big file is in both"
        assert 1_500_000 < int(each["exclusiveBytes"]) < 1_510_000
        assert int(each["baseBytes"]) >= 4_500_000
    store = int(found["storeBytes"])
    exclusive = sum(int(each["exclusiveBytes"]) for each in (one, two))
    counted = exclusive + int(one["sharedBytes"]) + int(found.get("unreferencedBytes", 0))
    assert 0 <= store - counted < 1000, "what the last look at a directory saw is kept beside its trees"
    assert store < int(found["storeMaxBytes"])
    assert int(found["diskFreeBytes"]) > 0

    only = await interlock("workspace", "du", str(place / "two"), "-o", "json")
    assert [each["workspaceId"] for each in only["workspaces"]] == [ids[1]]
    table = await interlock("workspace", "du")
    assert ids[0] in table
    assert "gc would free" in table
    assert "at most" in table
    assert "what is younger than the grace period stays" in table
    assert "WORKSPACE_NOT_FOUND" in await interlock("workspace", "du", "ws-none", code=5)


async def test_collecting_by_hand(stack: Stack, place: Path, interlock: Run) -> None:
    live = place / "live"
    live.mkdir()
    workspace = await stack.executor.workspace(live)
    run = await stack.run(workspace, edit("a", "a\n", gate=NONE))
    await stack.until(run, "COMPLETED")
    counted = await interlock("workspace", "gc", "--dry-run", "-o", "json")
    assert counted["dryRun"] is True
    kept = counted["objectsKept"]
    assert f"0 removed, {kept} kept" in await interlock("workspace", "gc", "--keep-days", "7")
    assert "would be removed" in await interlock("workspace", "gc", "--dry-run")
    assert (live / "a").read_text() == "a\n"


@pytest.mark.parametrize("days", ["36501", "3000000", "99999999999"])
async def test_more_days_than_can_be_kept_are_refused_at_once(interlock: Run, days: str) -> None:
    assert "--keep-days" in await interlock("workspace", "gc", "--keep-days", days, code=2)


async def test_a_century_is_not_too_long(interlock: Run) -> None:
    assert "0 removed" in await interlock("workspace", "gc", "--keep-days", "36500")


@pytest.mark.parametrize("step", ["10001", "99999999999", "9999999999999999"])
async def test_a_step_that_no_run_has_is_refused_at_once(interlock: Run, step: str) -> None:
    assert "--to-step" in await interlock("run", "rollback", "run-1", "--to-step", step, code=2)
    assert "--at-step" in await interlock("run", "fork", "run-1", "--at-step", step, code=2)


async def test_runs_of_a_directory(stack: Stack, place: Path, interlock: Run) -> None:
    live = place / "live"
    live.mkdir()
    (place / "other").mkdir()
    workspace = await stack.executor.workspace(live)
    await stack.executor.workspace(place / "other")
    run = await stack.run(workspace, edit("a", "a\n", gate=NONE))
    for name in (str(live), workspace):
        found = await interlock("run", "list", "--workspace", name, "-o", "json")
        assert [each["runId"] for each in found["runs"]] == [run]
    assert "No runs." in await interlock("run", "list", "--workspace", str(place / "other"))
    for name in (str(place), "ws-none"):
        for command in (("run", "list"), ("approvals", "list"), ("approvals", "watch")):
            assert "WORKSPACE_NOT_FOUND" in await interlock(*command, "--workspace", name, code=5)
