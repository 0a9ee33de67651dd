"""What somebody saves in the middle of a publication stays, and is told: journal, run, step, rollback and revert."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.stack import NONE, Stack, command, interlock_on, open_place, stack

Run = Callable[..., Any]
TOLD = "Not written, because somebody saved them at that moment"


@pytest.fixture
def place() -> Iterator[Path]:
    with open_place() as path:
        yield path


@pytest.fixture(name="stack")
async def fixture_stack(place: Path, database_url: str) -> AsyncIterator[Stack]:
    saves = str(place / "saves")
    async with stack(place, database_url, "tests.support.saving_executor", TEST_SAVES=saves) as both:
        yield both


@pytest.fixture
def interlock(stack: Stack, place: Path) -> Run:
    return interlock_on(stack, place)


@pytest.fixture
def save(place: Path) -> Callable[..., None]:
    """Have somebody save files of `live`, each with its name in it, in the middle of the next publication."""

    def told(*names: str) -> None:
        content = {str(place / "live" / name): f"their {name}\n" for name in names}
        (place / "new").write_text(json.dumps(content))
        (place / "new").rename(place / "saves")

    return told


async def project(stack: Stack, place: Path, *names: str) -> str:
    live = place / "live"
    live.mkdir()
    for name in names:
        (live / name).write_text(f"old {name}\n")
    return await stack.executor.workspace(live)


async def journal(interlock: Run, run: str, type_: str) -> list[dict[str, Any]]:
    """What the run's events of a type say."""
    shown = await interlock("journal", "show", run, "-o", "json")
    events = [json.loads(base64.b64decode(event["canonicalJson"])) for event in shown["events"]]
    return [event["data"] for event in events if event["type"] == type_]


async def test_a_step_tells_what_it_left_alone(
    stack: Stack, place: Path, interlock: Run, save: Callable[..., None]
) -> None:
    workspace = await project(stack, place, "a", "b", "c")
    save("b", "c")
    line = "for f in a b c; do echo ours > $f; done"
    run = await stack.run(workspace, command(line, gate=NONE), command("cat a b c", gate=NONE))
    done = await stack.until(run, "COMPLETED")
    assert {path.name: path.read_text() for path in (place / "live").iterdir()} == {
        "a": "ours\n",
        "b": "their b\n",
        "c": "their c\n",
    }
    assert (list(done.steps[0].kept_paths), done.steps[0].kept_total) == (["b", "c"], 2)
    assert not done.steps[1].kept_total
    assert done.steps[1].effect.stdout.head == b"ours\ntheir b\ntheir c\n", "the next step sees theirs"

    shown = await interlock("step", "show", run, "1", "-o", "json")
    assert (shown["keptPaths"], shown["keptTotal"]) == (["b", "c"], 2)
    text = await interlock("step", "show", run, "1")
    assert f"{TOLD} (2)" in text
    assert "  b\n  c\n" in text
    assert TOLD not in await interlock("step", "show", run, "2")
    whole = await interlock("run", "get", run, "-o", "json")
    assert [step.get("keptPaths") for step in whole["steps"]] == [["b", "c"], None]
    assert "2 not written: saved by somebody meanwhile" in await interlock("run", "get", run)

    ended = await journal(interlock, run, "step.succeeded")
    assert (ended[0]["kept_paths"], ended[0]["kept_total"]) == (["b", "c"], 2)
    assert "kept_paths" not in ended[1]


async def test_of_many_a_hundred_are_named_and_all_are_counted(
    stack: Stack, place: Path, interlock: Run, save: Callable[..., None]
) -> None:
    names = [f"f{number:03}" for number in range(130)]
    workspace = await project(stack, place, *names)
    save(*names[5:])
    run = await stack.run(workspace, command("for f in f*; do echo ours > $f; done", gate=NONE))
    step = (await stack.until(run, "COMPLETED")).steps[0]
    assert (list(step.kept_paths), step.kept_total) == (names[5:105], 125)
    text = await interlock("step", "show", run, "1")
    assert f"{TOLD} (125)" in text
    assert "and 25 more" in text


@pytest.mark.parametrize("undo", ["rollback", "revert"])
async def test_undoing_tells_what_it_left_alone(
    stack: Stack, place: Path, interlock: Run, save: Callable[..., None], undo: str
) -> None:
    workspace = await project(stack, place, "a", "b")
    run = await stack.run(workspace, command("for f in a b; do echo ours > $f; done", gate=NONE))
    await stack.until(run, "COMPLETED")
    save("b")
    words = ("run", "rollback", run) if undo == "rollback" else ("step", "revert", run, "1")
    told = await interlock(*words, "-o", "json")
    assert (told["keptPaths"], told["keptTotal"]) == (["b"], 1)
    assert (place / "live" / "a").read_text() == "old a\n"
    assert (place / "live" / "b").read_text() == "their b\n"
    type_ = "run.rolled_back" if undo == "rollback" else "step.reverted"
    [found] = await journal(interlock, run, type_)
    assert (found["kept_paths"], found["kept_total"]) == (["b"], 1)
