"""Appends of several runs in one transaction: all of them, or none."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.store import append

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.errors import Conflict
from interlock.orchestrator.store.journal import Journal
from interlock.orchestrator.store.readers import events
from interlock.orchestrator.store.records import NewRun, NewWorkspace, WorkspaceChange


async def test_all_of_them_stand_one_behind_the_other(journal: Journal, database: Database) -> None:
    for name in ("run-a", "run-b", "run-c"):
        await journal.append(append(name, 0))
    together = journal.append_all([append("run-a", 1), append("run-b", 1, 2), append("run-c", 1)])
    alone = [journal.append(append(f"run-{n}", 0)) for n in range(20)]
    found, *_ = await asyncio.gather(together, *alone)
    assert [result.seq for result in found] == [2, 3, 2]
    positions = [result.position for result in found]
    assert positions == [positions[0], positions[0] + 2, positions[0] + 3]
    feed = await events.of_feed(database)
    assert [row.position for row in feed] == list(range(1, len(feed) + 1))


@pytest.mark.parametrize("wrong", [0, 1, 2])
async def test_where_one_has_moved_on_none_is_written(
    journal: Journal, database: Database, wrong: int
) -> None:
    names = ["run-a", "run-b", "run-c"]
    for name in names:
        await journal.append(append(name, 0))
    before = await events.of_feed(database)
    wanted = [append(name, 5 if n == wrong else 1) for n, name in enumerate(names)]
    with pytest.raises(Conflict):
        await journal.append_all(wanted)
    assert await events.of_feed(database) == before
    assert (await journal.append(append("run-a", 1))).position == len(before) + 1, "no position was used up"
    found = await journal.append_all([append("run-b", 1), append("run-c", 1)])
    assert [result.seq for result in found] == [2, 2]


async def test_a_refusal_of_one_is_the_answer_to_all(journal: Journal, database: Database) -> None:
    fresh = NewWorkspace("here", "/w")
    for name in ("run-a", "run-b"):
        await journal.append(append(name, 0, create=NewRun("g", workspace_id="ws-1")))
    hold = WorkspaceChange("ws-1", "take", create=fresh)
    await journal.append(append("run-b", 1, workspace=hold))
    with pytest.raises(InterlockError) as caught:
        await journal.append_all(
            [append("run-b", 2), append("run-a", 1, workspace=WorkspaceChange("ws-1", "take"))]
        )
    assert caught.value.reason is Reason.WORKSPACE_BUSY
    assert len(await events.of_run(database, "run-b")) == 2
