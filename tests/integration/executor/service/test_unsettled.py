"""While a publication has begun and is not settled, nothing final is told of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.processes import python_module

from interlock.common.errors import InterlockError, Reason
from interlock.v1 import executor_pb2 as pb

OLD = {"a.txt": "one\ntwo\nthree\n", "b.txt": "b", "c.txt": "c"}
NEW = dict.fromkeys(OLD, "agent\n")
AGENT = "for i in a b c; do echo agent > $i.txt; done"


def content(live: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in live.iterdir() if path.is_file()}


async def cut_off(lone: Any, point: str, call: Any) -> None:
    """Kill the executor in the middle of a call, take the directory away for a moment, and start it again."""
    await lone.kill()
    ready = lone.place / f"armed-{point}"
    env = {
        "INTERLOCK_EXECUTOR_DIR": str(lone.state),
        "INTERLOCK_EXECUTOR_ADDRESS": "127.0.0.1:0",
        "INTERLOCK_TOKEN": "test-token",
        "TEST_FAILPOINT": point,
    }
    log = lone.place / "armed-log"
    async with python_module(
        log, "tests.support.armed_executor", "--ready-file", str(ready), env=env
    ) as child:
        await lone.connect(await child.wait_for_file(ready))
        with pytest.raises(InterlockError):
            await call()
        await child.process.wait()
    lone.live.rename(lone.live.with_name("away"))
    await lone.start()


def bring_back(lone: Any) -> None:
    lone.live.with_name("away").rename(lone.live)


async def reason(call: Any) -> Reason:
    with pytest.raises(InterlockError) as caught:
        await call
    return caught.value.reason


async def test_apply_and_discard_wait_until_a_publication_that_has_begun_is_settled(
    lone: Any, act: Any
) -> None:
    ws = await lone.workspace(**{"b.txt": "b", "c.txt": "c"})
    prepared = await lone.prepare(ws, act.command(AGENT))
    await cut_off(lone, "publish.live.entry:2", lambda: lone.apply(prepared))
    assert await reason(lone.apply(prepared)) is Reason.UNAVAILABLE, "a final error would call it failed"
    assert await reason(lone.discard()) is Reason.UNAVAILABLE, "it will take effect"
    bring_back(lone)
    assert await reason(lone.discard()) is Reason.EFFECT_ALREADY_APPLIED
    assert content(lone.live) == NEW
    found = await lone.call("GetEffect", pb.GetEffectRequest(key=lone.key()))
    assert found.state == pb.EFFECT_STATE_APPLIED
    applied = await lone.apply(prepared)
    assert applied.head_tree == prepared.effect.result_tree == await lone.head(ws)


async def test_an_apply_that_was_cut_off_ends_when_it_is_repeated(lone: Any, act: Any) -> None:
    ws = await lone.workspace()
    prepared = await lone.prepare(
        ws, act.command("echo agent > a.txt; echo agent > b.txt; echo agent > c.txt")
    )
    await cut_off(lone, "publish.live.entry:2", lambda: lone.apply(prepared))
    for _ in range(3):
        assert await reason(lone.apply(prepared)) is Reason.UNAVAILABLE
    bring_back(lone)
    assert (await lone.apply(prepared)).head_tree == prepared.effect.result_tree
    assert content(lone.live) == NEW


async def test_going_back_to_a_tree_waits_in_the_same_way(lone: Any, act: Any) -> None:
    ws = await lone.workspace()
    prepared = await lone.prepare(ws, act.command("echo agent > a.txt; echo agent > b.txt"))
    await lone.apply(prepared)
    request = pb.RestoreTreeRequest(request_id="r", workspace_id=ws, tree=prepared.effect.base_tree)
    await cut_off(lone, "publish.live.entry:1", lambda: lone.call("RestoreTree", request))
    assert await reason(lone.call("RestoreTree", request)) is Reason.UNAVAILABLE
    bring_back(lone)
    assert (await lone.call("RestoreTree", request)).head_tree == prepared.effect.base_tree
    assert content(lone.live) == {"a.txt": OLD["a.txt"]}


async def test_taking_a_step_out_waits_in_the_same_way(lone: Any, act: Any) -> None:
    ws = await lone.workspace()
    prepared = await lone.prepare(ws, act.command("echo agent > a.txt; echo agent > b.txt"))
    await lone.apply(prepared)
    request = pb.RevertTreeRequest(
        request_id="r",
        workspace_id=ws,
        from_tree=prepared.effect.result_tree,
        to_tree=prepared.effect.base_tree,
    )
    await cut_off(lone, "publish.live.entry:1", lambda: lone.call("RevertTree", request))
    assert await reason(lone.call("RevertTree", request)) is Reason.UNAVAILABLE
    bring_back(lone)
    assert (await lone.call("RevertTree", request)).head_tree == prepared.effect.base_tree
    assert content(lone.live) == {"a.txt": OLD["a.txt"]}


@pytest.fixture
def mounted(place: Path) -> Iterator[Any]:
    """Makes a file one that nobody can replace, until it is freed."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    done: list[Path] = []

    def free() -> None:
        while done:
            subprocess.run(["umount", done.pop()], check=True)

    def block(path: Path) -> Any:
        same = place / "mounted"
        same.write_text(path.read_text())
        if subprocess.run(["mount", "--bind", same, path], check=False).returncode:
            pytest.skip("mounting is not allowed here")
        done.append(path)
        return free

    yield block
    free()


async def test_what_cannot_be_published_is_taken_back_and_may_be_discarded(
    lone: Any, act: Any, mounted: Any
) -> None:
    ws = await lone.workspace(**{"b.txt": "b", "c.txt": "c"})
    prepared = await lone.prepare(ws, act.command(AGENT))
    free = mounted(lone.live / "b.txt")
    with pytest.raises(InterlockError) as caught:
        await lone.apply(prepared)
    assert caught.value.reason is Reason.EFFECT_NOT_PUBLISHABLE
    assert "b.txt" in caught.value.message
    assert content(lone.live) == OLD
    assert (await lone.discard()).state == pb.EFFECT_STATE_DISCARDED
    free()
    await lone.restart()
    await lone.prepare(ws, act.command("cat a.txt"), step=2)
    assert content(lone.live) == OLD, "what was discarded never takes effect"
    assert await lone.head(ws) == prepared.effect.base_tree
