"""Nothing but what was prepared is published, and only with its digest."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.v1 import executor_pb2 as pb

BOTH_FORKS = True

OTHER = "sha256:" + "0" * 64


def upper(executor: Any) -> Path:
    found = list(executor.state.glob("workspaces/*/forks/*/up"))
    assert len(found) == 1
    return Path(found[0])


async def refused(call: Any, reason: Reason) -> None:
    with pytest.raises(InterlockError) as caught:
        await call
    assert caught.value.reason is reason


@pytest.mark.parametrize("field", ["effect_digest", "approved_digest"])
async def test_a_wrong_digest(executor: Any, act: Any, field: str) -> None:
    ws = await executor.workspace()
    prepared = await executor.prepare(ws, act.command("echo x > f"))
    await refused(executor.apply(prepared, **{field: OTHER}), Reason.EFFECT_DIGEST_MISMATCH)
    assert not (executor.live / "f").exists()
    await executor.apply(prepared)


async def test_another_steps_digest(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    first = await executor.prepare(ws, act.command("echo x > f"))
    second = await executor.prepare(ws, act.command("echo x > f"), step=2)
    assert first.effect.effect_digest != second.effect.effect_digest
    assert first.effect.result_tree == second.effect.result_tree
    await refused(executor.apply(first, step=2), Reason.EFFECT_DIGEST_MISMATCH)


@pytest.mark.parametrize("how", ["content", "new file", "mode"])
async def test_the_fork_is_changed_after_the_preview(lone: Any, act: Any, how: str) -> None:
    ws = await lone.workspace()
    prepared = await lone.prepare(ws, act.command("echo fine > f"))
    where = upper(lone)
    if how == "content":
        (where / "f").write_text("evil\n")
    elif how == "new file":
        (where / "g").write_text("evil\n")
    else:
        (where / "f").chmod(0o777)
    await refused(lone.apply(prepared), Reason.EFFECT_TAMPERED)
    assert not (lone.live / "f").exists()
    assert await lone.head(ws) == prepared.effect.base_tree


@pytest.mark.parametrize(
    "change",
    [
        "result_tree='{other}'",
        "base_tree='{other}'",
        "workspace='ws-other'",
        "request_digest='{other}'",
        "effect_document=CAST(replace(CAST(effect_document AS TEXT), ':0,', ':1,') AS BLOB)",
        "request_document=CAST(replace(CAST(request_document AS TEXT), 'echo', 'rm') AS BLOB)",
        "request_document=x'00'",
        "effect_document=x'7b7d'",
    ],
)
async def test_the_record_is_changed(lone: Any, act: Any, change: str) -> None:
    ws = await lone.workspace()
    prepared = await lone.prepare(ws, act.command("echo fine > f"))
    with sqlite3.connect(lone.state / "effects.db", timeout=10) as db:
        db.execute("UPDATE effects SET " + change.format(other=OTHER))
    db.close()
    await refused(lone.apply(prepared), Reason.EFFECT_TAMPERED)
    assert not (lone.live / "f").exists()


async def test_the_head_moved(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    first = await executor.prepare(ws, act.command("echo 1 > f"))
    second = await executor.prepare(ws, act.command("echo 2 > f"), step=2)
    await executor.apply(first)
    await refused(executor.apply(second, step=2), Reason.WORKSPACE_HEAD_MOVED)
    assert (executor.live / "f").read_text() == "1\n"
    assert (await executor.discard(step=2)).state == pb.EFFECT_STATE_DISCARDED


async def test_the_live_directory_drifted_elsewhere(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    prepared = await executor.prepare(ws, act.command("echo x > f"))
    (executor.live / "mine.txt").write_text("the user's\n")
    applied = await executor.apply(prepared)
    assert applied.merged_drift
    assert applied.head_tree != prepared.effect.result_tree
    assert (executor.live / "mine.txt").read_text() == "the user's\n"
    assert (executor.live / "f").read_text() == "x\n"


async def test_the_live_directory_drifted_in_the_same_place(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    prepared = await executor.prepare(ws, act.command("echo x >> a.txt"))
    (executor.live / "a.txt").write_text("the user's\n")
    await refused(executor.apply(prepared), Reason.WORKSPACE_DRIFTED)
    assert (executor.live / "a.txt").read_text() == "the user's\n"


async def test_applying_what_does_not_exist(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    request = pb.ApplyRequest(key=executor.key(3), effect_digest=OTHER, approved_digest=OTHER)
    await refused(executor.call("Apply", request), Reason.EFFECT_NOT_FOUND)
    assert ws


async def test_applying_twice_is_once(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    prepared = await executor.prepare(ws, act.command("echo x >> a.txt"))
    first = await executor.apply(prepared)
    (executor.live / "a.txt").write_text("changed since\n")
    assert await executor.apply(prepared) == first
    assert (executor.live / "a.txt").read_text() == "changed since\n"
    assert ws


async def test_a_request_is_no_approval_of_an_effect_unless_it_was_approved_first(
    executor: Any, act: Any
) -> None:
    """A preview that waits for a decision about its result is not published on the strength of its command."""
    ws = await executor.workspace()
    shown = await executor.prepare(ws, act.command("echo x > new.txt"))
    with pytest.raises(InterlockError) as caught:
        await executor.apply(shown, approved_digest=shown.effect.request_digest)
    assert caught.value.reason is Reason.EFFECT_DIGEST_MISMATCH
    assert not (executor.live / "new.txt").exists()
    await executor.discard()
    proposed = pb.ProposeRequest(key=executor.key(2), workspace_id=ws, action=act.command("echo x > new.txt"))
    asked = (await executor.call("Propose", proposed)).effect.request_digest
    ran = await executor.prepare(ws, act.command("echo x > new.txt"), step=2, expected_request_digest=asked)
    await executor.apply(ran, step=2, approved_digest=asked)
    assert (executor.live / "new.txt").read_text() == "x\n"
