"""A publication that was cut off, and an object lost that it can neither be finished nor taken back without."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.integration.executor.service.test_unsettled import AGENT, NEW, OLD, bring_back, content, cut_off

from interlock.common.digests import digest_bytes
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import executor_pb2 as pb
from interlock.v1 import workspace_pb2


def take(state: Path, tree: str) -> tuple[Any, ...]:
    """The object's row, which is damaged from here on."""
    db = sqlite3.connect(state / "store/objects.db", isolation_level=None)
    key = (digest_bytes(tree),)
    row: tuple[Any, ...] = db.execute("SELECT * FROM objects WHERE id=?", key).fetchone()
    db.execute("UPDATE objects SET form=0, data=x'00' WHERE id=?", key)
    db.close()
    return row


def put_back(state: Path, row: tuple[Any, ...]) -> None:
    db = sqlite3.connect(state / "store/objects.db", isolation_level=None)
    db.execute("INSERT OR REPLACE INTO objects VALUES(?,?,?,?,?)", row)
    db.close()


async def refused(call: Any) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        await call
    return caught.value


async def test_it_is_told_at_once_blocks_nobody_else_and_ends_with_the_object(lone: Any, act: Any) -> None:
    ws = await lone.workspace(**{"b.txt": "b", "c.txt": "c"})
    prepared = await lone.prepare(ws, act.command(AGENT))
    await cut_off(lone, "publish.live.entry:2", lambda: lone.apply(prepared))
    await lone.kill()
    bring_back(lone)
    row = take(lone.state, prepared.effect.base_tree)
    await lone.start()
    half = content(lone.live)
    assert half not in (OLD, NEW)

    for call in (lone.apply(prepared), lone.apply(prepared), lone.prepare(ws, act.command("true"), step=2)):
        error = await refused(call)
        assert error.reason is Reason.WORKSPACE_QUARANTINED, "UNAVAILABLE would be asked again for ever"
        assert error.metadata["object"] == prepared.effect.base_tree
        assert error.metadata["directory"] == str(lone.live)
        assert error.fix
    assert content(lone.live) == half
    assert await lone.head(ws) == prepared.effect.base_tree

    other = lone.place / "other"
    other.mkdir()
    source = workspace_pb2.WorkspaceSource(directory=workspace_pb2.DirectorySource(path=str(other)))
    made = (await lone.call("CreateWorkspace", pb.CreateWorkspaceRequest(source=source))).workspace
    fine = await lone.prepare(made.workspace_id, act.command("echo fine > fine"), step=3)
    assert await lone.apply(fine, step=3)

    put_back(lone.state, row)
    await lone.restart()
    assert content(lone.live) == OLD, "taken back at the start"
    assert (await lone.apply(prepared)).head_tree == prepared.effect.result_tree
    assert content(lone.live) == NEW


@pytest.mark.parametrize("asked_before", [True, False])
async def test_an_effect_whose_workspace_is_quarantined_can_be_discarded(
    lone: Any, act: Any, asked_before: bool
) -> None:
    ws = await lone.workspace(**{"b.txt": "b", "c.txt": "c"})
    prepared = await lone.prepare(ws, act.command(AGENT))
    await cut_off(lone, "publish.live.entry:2", lambda: lone.apply(prepared))
    await lone.kill()
    bring_back(lone)
    row = take(lone.state, prepared.effect.base_tree)
    await lone.start()
    if asked_before:
        assert (await refused(lone.apply(prepared))).reason is Reason.WORKSPACE_QUARANTINED
    assert (await lone.discard()).state == pb.EFFECT_STATE_DISCARDED
    put_back(lone.state, row)
    await lone.restart()
    assert content(lone.live) == OLD
