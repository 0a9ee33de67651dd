"""The executor is killed, at several points, and asked the same again: each effect has happened once or not at all."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.processes import python_module

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox import orphans
from interlock.v1 import executor_pb2 as pb

APPEND = "cat /proc/sys/kernel/random/uuid >> a.txt"


async def test_a_preview_survives(lone: Any, act: Any) -> None:
    ws = await lone.workspace()
    prepared = await lone.prepare(ws, act.command(APPEND))
    await lone.restart()
    assert await lone.prepare(ws, act.command(APPEND)) == prepared
    found = await lone.call("GetEffect", pb.GetEffectRequest(key=lone.key()))
    assert (found.state, found.effect) == (pb.EFFECT_STATE_PREPARED, prepared.effect)
    await lone.apply(prepared)
    assert len((lone.live / "a.txt").read_text().splitlines()) == 4


async def test_a_step_that_was_cut_off_is_computed_again(lone: Any, act: Any) -> None:
    ws = await lone.workspace()
    action = act.command("echo x >> a.txt; test -e go || sleep 1000")
    running = asyncio.create_task(lone.prepare(ws, action))
    await recorded(lone, b"preparing")
    await lone.kill()
    with pytest.raises(InterlockError):
        await running
    await lone.start()
    action.run_command.timeout.FromSeconds(60)
    other = act.command("echo x >> a.txt")
    answer = await lone.prepare(ws, other)
    assert answer.state == pb.EFFECT_STATE_PREPARED
    await lone.apply(answer)
    assert (lone.live / "a.txt").read_text() == "one\ntwo\nthree\nx\n"


async def recorded(executor: Any, state: bytes) -> None:
    while state not in states(executor):  # noqa: ASYNC110 (another process writes it)
        await asyncio.sleep(0.01)


def states(executor: Any) -> bytes:
    try:
        with sqlite3.connect(f"file:{executor.state}/effects.db?mode=ro", uri=True) as db:
            return b" ".join(row[0].encode() for row in db.execute("SELECT state FROM effects"))
    except sqlite3.OperationalError:
        return b""


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.006, 0.02])
async def test_killed_while_applying(lone: Any, act: Any, delay: float) -> None:
    ws = await lone.workspace(**{f"many/{i}.txt": str(i) for i in range(200)})
    line = "for f in many/*; do echo new > $f; done; echo four >> a.txt"
    prepared = await lone.prepare(ws, act.command(line))
    applying = asyncio.create_task(lone.apply(prepared))
    await asyncio.sleep(delay)  # where it is cut is left to chance; what must hold afterwards is not
    await lone.kill()
    await asyncio.gather(applying, return_exceptions=True)
    await lone.start()
    applied = await lone.apply(prepared)
    assert applied.head_tree == prepared.effect.result_tree == await lone.head(ws)
    assert (lone.live / "a.txt").read_text() == "one\ntwo\nthree\nfour\n"
    assert {path.read_text() for path in (lone.live / "many").iterdir()} == {"new\n"}
    assert await lone.apply(prepared) == applied
    with pytest.raises(InterlockError) as caught:
        await lone.discard()
    assert caught.value.reason is Reason.EFFECT_ALREADY_APPLIED


async def test_a_record_that_says_applying_is_settled_at_the_start(lone: Any, act: Any) -> None:
    ws = await lone.workspace()
    first = await lone.prepare(ws, act.command("echo 1 > first"))
    applied = await lone.apply(first)
    second = await lone.prepare(ws, act.command("echo 2 > second"), step=2)
    await lone.kill()
    with sqlite3.connect(lone.state / "effects.db") as db:  # as if killed between the two writes of an apply
        db.execute("UPDATE effects SET state='applying', head_tree='', applied_at=''")
    await lone.start()
    assert (await lone.apply(first)).head_tree == applied.head_tree
    assert (await lone.discard(step=2)).state == pb.EFFECT_STATE_DISCARDED
    assert not (lone.live / "second").exists()
    assert second.state == pb.EFFECT_STATE_PREPARED


async def test_a_discard_survives(lone: Any, act: Any) -> None:
    ws = await lone.workspace()
    await lone.prepare(ws, act.command("echo x > f"))
    await lone.discard()
    await lone.discard(step=7)
    await lone.restart()
    assert (await lone.prepare(ws, act.command("echo x > f"))).state == pb.EFFECT_STATE_DISCARDED
    assert (await lone.prepare(ws, act.command("echo x > f"), step=7)).state == pb.EFFECT_STATE_DISCARDED


async def test_a_caller_that_goes_away_does_not_stop_the_step(lone: Any, act: Any) -> None:
    ws = await lone.workspace()
    request = pb.PrepareRequest(key=lone.key(), workspace_id=ws, action=act.command(f"sleep 0.5; {APPEND}"))
    with pytest.raises(grpc.aio.AioRpcError):
        await lone.stub.Prepare(request, timeout=0.2)
    answer = await lone.call("Prepare", request)
    assert answer.state == pb.EFFECT_STATE_PREPARED
    assert answer.effect.usage.wall.ToMicroseconds() >= 400_000


async def test_sigterm_ends_steps_and_the_process(idle: Any, act: Any) -> None:
    idle.module = python_module  # of a fork nobody is told how it ended
    await idle.start()
    ws = await idle.workspace()
    running = asyncio.create_task(idle.prepare(ws, act.command("sleep 1000")))
    await recorded(idle, b"preparing")
    idle.child.process.terminate()
    idle.child.process.terminate()
    assert await idle.child.wait(60) == 0
    with pytest.raises(InterlockError):
        await running
    assert not [name for name in os.listdir("/proc") if name.isdigit() and holds(name, idle.state)]


def holds(pid: str, directory: Any) -> bool:
    try:
        with open(f"/proc/{pid}/mounts", "rb") as file:
            return os.fsencode(directory) in file.read()
    except OSError:
        return False


async def test_a_session_ends_by_itself_when_the_executor_stops(lone: Any, act: Any) -> None:
    """With what is under way answered, and in good order: an open stream does not hold a stop until it is cut off."""
    ws = await lone.workspace()
    prepare = pb.PrepareRequest(key=lone.key(), workspace_id=ws, action=act.command("sleep 1; echo done > f"))
    session = lone.stub.Session()
    await session.write(pb.SessionRequest(items=[pb.SessionItem(id=1, prepare=prepare)]))
    await recorded(lone, b"preparing")
    lone.child.process.terminate()
    frames = [frame async for frame in session]
    answers = [result.prepare.state for frame in frames for result in frame.results]
    assert answers == [pb.EFFECT_STATE_PREPARED]
    assert await session.code() == grpc.StatusCode.OK


async def test_epochs_fence(lone: Any, act: Any) -> None:
    ws = await lone.workspace()
    prepared = await lone.prepare(ws, act.command("echo x > f"), epoch=5)
    stale = [
        lone.prepare(ws, act.read("a.txt"), step=2, epoch=4),
        lone.apply(prepared, epoch=4),
        lone.discard(epoch=4),
        lone.apply(prepared),
    ]
    for call in stale:
        with pytest.raises(InterlockError) as caught:
            await call
        assert caught.value.reason is Reason.EPOCH_STALE
    await lone.restart()
    with pytest.raises(InterlockError) as caught:
        await lone.apply(prepared, epoch=4)
    assert caught.value.reason is Reason.EPOCH_STALE
    await lone.apply(prepared, epoch=6)
    assert (lone.live / "f").exists()


async def test_an_import_ends_when_the_executor_stops(lone: Any) -> None:
    """A directory that takes long does not keep the executor, and nothing of it stays."""
    await asyncio.to_thread(_fill, lone.live)
    source = {"directory": {"path": str(lone.live)}}
    importing = asyncio.ensure_future(lone.call("CreateWorkspace", pb.CreateWorkspaceRequest(source=source)))
    imports = lone.state / "workspaces"
    while not (imports.exists() and os.listdir(imports)):  # noqa: ASYNC110 (another process makes it)
        await asyncio.sleep(0.01)
    lone.child.process.terminate()
    await lone.child.process.wait()
    with pytest.raises(InterlockError):
        await importing
    await lone.start()
    assert not (await lone.call("ListWorkspaces", pb.ListWorkspacesRequest())).workspaces


def _fill(live: Path) -> None:
    live.mkdir()
    for number in range(60):
        (live / f"d{number}").mkdir()
        for name in range(300):
            (live / f"d{number}/f{name}").write_bytes(b"x" * 200)


async def test_a_step_that_outlived_its_executor_ends_with_the_next_one(lone: Any) -> None:
    """A runner that had not yet asked to die with its executor when that was killed; here it never asks."""
    name = orphans.name_of(lone.state / "sandbox")
    orphan = subprocess.Popen(  # noqa: ASYNC220 (a moment)
        [name, "1000"], executable="/bin/sleep", start_new_session=True
    )
    try:
        await lone.restart()
        assert await asyncio.to_thread(orphan.wait, 10) == -signal.SIGKILL
    finally:
        orphan.kill()
        orphan.wait()
