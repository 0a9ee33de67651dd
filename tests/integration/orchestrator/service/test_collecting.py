"""What is to be kept is read only when the executor has begun: nothing that comes to life in between is missed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from tests.support.orchestrator import create, executor_server, only_executor, orchestrator, read
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.clients.collecting import Collection, collect
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.readers import kept
from interlock.v1 import executor_pb2 as x

ASK = Collection(timedelta(days=30))


@dataclass
class Told:
    """What the executor was told to keep."""

    workspaces: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    messages: int = 0
    complete: bool = False


class SlowToBegin(ScriptedExecutor):
    """Does something, and answers that it has begun only after that; a fake, as what it is made of."""

    def __init__(self, first: Callable[[], Awaitable[None]]) -> None:
        super().__init__(Script())
        self.first = first
        self.told = Told()

    async def CollectGarbage(
        self, requests: AsyncIterator[x.CollectGarbageRequest], context: Any
    ) -> x.CollectGarbageResponse:
        await self.first()
        await context.send_initial_metadata(())
        async for message in requests:
            self.told.messages += 1
            self.told.workspaces += message.workspace_ids
            self.told.runs += message.run_ids
            self.told.complete = message.last
        if not self.told.complete:
            raise InterlockError(Reason.INVALID_ARGUMENT, "The stream ended without its last message.")
        return x.CollectGarbageResponse(objects_kept=len(self.told.runs))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each page of workspaces that is read."""
    made: list[int] = []
    real = kept.workspaces

    async def counted(database: Database, page: int) -> AsyncIterator[list[str]]:
        made.append(page)
        async for names in real(database, page):
            yield names

    monkeypatch.setattr(kept, "workspaces", counted)
    return made


async def test_a_run_made_before_the_executor_begins_is_kept(database_url: str, reads: list[int]) -> None:
    made: list[str] = []
    seen_first: list[int] = []

    async def somebody_makes_a_run() -> None:
        made.append((await create(running.stub, read(), start=False)).run_id)
        seen_first.append(len(reads))

    executor = SlowToBegin(somebody_makes_a_run)
    async with executor_server(executor) as at, orchestrator(database_url, at) as running:
        await create(running.stub, read(), start=False)
        done = await collect(running.deps.database, only_executor(running.deps), ASK)
    assert seen_first == [0], "rows were read before the executor had begun"
    assert made[0] in executor.told.runs
    assert executor.told.complete
    assert done.objects_kept == len(executor.told.runs) == 2


async def test_an_executor_that_refuses_to_begin_is_heard_and_nothing_is_read(
    database_url: str, reads: list[int]
) -> None:
    async def refuse() -> None:
        raise InterlockError(Reason.UNAVAILABLE, "Another collection is under way.")

    executor = SlowToBegin(refuse)
    async with executor_server(executor) as at, orchestrator(database_url, at) as running:
        with pytest.raises(InterlockError) as caught:
            await collect(running.deps.database, only_executor(running.deps), ASK)
    assert caught.value.reason is Reason.UNAVAILABLE
    assert "Another collection" in caught.value.message
    assert reads == []


async def test_a_reading_that_fails_ends_the_collection_unfinished(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(database: Database, page: int) -> AsyncIterator[list[str]]:
        raise InterlockError(Reason.DATABASE_UNAVAILABLE, "The database is away.")
        yield []

    async def nothing() -> None:
        return

    monkeypatch.setattr(kept, "workspaces", broken)
    executor = SlowToBegin(nothing)
    async with executor_server(executor) as at, orchestrator(database_url, at) as running:
        with pytest.raises(InterlockError) as caught:
            await collect(running.deps.database, only_executor(running.deps), ASK)
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
    assert executor.told.messages == 1
    assert not executor.told.complete
