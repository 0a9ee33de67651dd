"""What this process wrote it tells from memory, exactly as one that has to read it all would."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from tests.support.feed_story import Story
from tests.support.orchestrator import create, decide, edit, executor_server, orchestrator, pending, until
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.orchestrator.deps import Deps
from interlock.orchestrator.queries.approvals import event_of, record_view
from interlock.orchestrator.queries.shared import SharedEvents
from interlock.orchestrator.runs.asked import Asked
from interlock.orchestrator.runs.labels import WorkspaceLabels
from interlock.orchestrator.runs.payloads import Payloads
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.readers import approvals, events

LABELS = {"team": "a"}
_TABLES = ("approvals", "payloads", "workspaces")


def cold(deps: Deps) -> Deps:
    """The same orchestrator, knowing nothing but the database."""
    return replace(
        deps,
        asked=Asked(),
        told=SharedEvents(),
        labels=WorkspaceLabels(deps.database),
        payloads=Payloads(deps.database),
    )


class Queries:
    """Counts what is asked of the tables that the feed is told from, from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = Database.all

        async def all_(database: Database, statement: Any) -> list[Any]:
            self.count += any(f"FROM {table}" in str(statement) for table in _TABLES)
            return await real(database, statement)

        monkeypatch.setattr(Database, "all", all_)


async def test_what_is_told_from_memory_is_what_is_stored(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        await Story(it, random.Random("at hand")).tell(60)
        rows = await events.of_feed(it.deps.database, 0, 1000)
        fresh = replace(it.deps, told=SharedEvents())
        queries = Queries(monkeypatch)
        told = [await event_of(fresh, row, set()) for row in rows]
        assert queries.count == 0
        reader = cold(it.deps)
        assert told == [await event_of(reader, row, set()) for row in rows]
        assert queries.count > 60
        kinds = {event.kind for event in told if event is not None}
        assert len(kinds) == 3  # requested, resolved, applied


async def test_a_decision_reads_nothing_and_answers_what_is_stored(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script(labels={"ws-of-a-team": LABELS})
    async with (
        executor_server(ScriptedExecutor(script)) as executor,
        orchestrator(database_url, executor) as it,
    ):
        run = await create(it.stub, edit(), workspace_id="ws-of-a-team")
        asked = await pending(it.stub, run.run_id)
        queries = Queries(monkeypatch)
        answered = await decide(it.stub, asked)
        assert queries.count == 0
        await until(it.stub, run.run_id, "COMPLETED")
        row = await _stored(it.deps, asked.approval_id)
        assert answered == row
        assert answered.workspace_labels == LABELS


async def _stored(deps: Deps, approval_id: str) -> Any:
    reader = cold(deps)
    return await record_view(reader, await approvals.get(reader.database, approval_id), with_preview=False)
