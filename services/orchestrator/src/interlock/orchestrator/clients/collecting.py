"""A collection on an executor: everything that runs refer to, told in bounded messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from interlock.common import logs
from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.clients.executor import ExecutorClient
from interlock.orchestrator.clients.executors import Executors
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.readers import kept
from interlock.v1 import executor_pb2 as pb

PAGE: Final = 10_000
_RUNS: Final = 200
_SECONDS: Final = 3600.0
_COUNTED: Final = [f.name for f in pb.CollectGarbageResponse.DESCRIPTOR.fields if f.name != "dry_run"]
_log = logs.get("collect")


@dataclass(frozen=True)
class Collection:
    """What is asked: a dry run or not, and how far back the history of ended runs is kept."""

    retention: timedelta
    dry_run: bool = False
    request_id: str = ""


async def collect_all(database: Database, executors: Executors, ask: Collection) -> pb.CollectGarbageResponse:
    """A collection on each executor in turn; the sums. Raises as `collect` does, at the first that fails.

    Who repeats the `request_id` after that gets the first answers of those that were done.
    """
    total = pb.CollectGarbageResponse(dry_run=ask.dry_run)
    for client in executors.clients.values():
        done = await collect(database, client, ask)
        for name in _COUNTED:
            setattr(total, name, getattr(total, name) + getattr(done, name))
    return total


async def collect(database: Database, executor: ExecutorClient, ask: Collection) -> pb.CollectGarbageResponse:
    """Has the executor remove what no run refers to. Raises UNAVAILABLE, DATABASE_UNAVAILABLE, INTERNAL.

    Nothing is read before the executor has answered that it began: all that is entered after that, it keeps, so
    that nothing is missed by a row that was read too early. Where the reading fails, the executor gets no last
    message, and removes nothing.
    """
    failed: list[InterlockError] = []
    begun, over = asyncio.Event(), asyncio.Event()
    messages = _until_failure(_after(begun, _messages(database, ask)), failed, over)
    try:
        with rpc_errors("executor"):
            call = executor.stub.CollectGarbage(messages, timeout=_SECONDS)
            call.add_done_callback(lambda _: over.set())
            try:
                await call.initial_metadata()
                if not call.done():  # a call that was refused has no more to say than that
                    begun.set()
                return await call
            finally:
                call.cancel()
    except InterlockError as error:
        raise (failed or [error])[0] from None


async def _after(
    begun: asyncio.Event, messages: AsyncIterator[pb.CollectGarbageRequest]
) -> AsyncIterator[pb.CollectGarbageRequest]:
    """The messages, from then on."""
    await begun.wait()
    async for message in messages:
        yield message


async def _until_failure(
    messages: AsyncIterator[pb.CollectGarbageRequest], failed: list[InterlockError], over: asyncio.Event
) -> AsyncIterator[pb.CollectGarbageRequest]:
    # gRPC takes an error here for a cancelled call. The stream ends early instead, and the executor refuses it.
    try:
        async for message in messages:
            yield message
    except InterlockError as error:
        if not over.is_set():  # a reading that the end of the call cut off is not why it ended
            failed.append(error)
    except Exception:  # noqa: BLE001 any other would leave the caller waiting until the deadline
        if over.is_set():
            return
        _log.exception("what runs refer to could not be read")
        text = "What runs refer to could not be read. Nothing was removed."
        failed.append(InterlockError(Reason.INTERNAL, text, fix="The orchestrator's log has the error."))


async def _messages(database: Database, ask: Collection) -> AsyncIterator[pb.CollectGarbageRequest]:
    first = pb.CollectGarbageRequest(request_id=ask.request_id, dry_run=ask.dry_run)
    first.retention.FromTimedelta(ask.retention)
    yield first
    async for names in kept.workspaces(database, PAGE):
        yield pb.CollectGarbageRequest(workspace_ids=names)
    async for ids in kept.run_ids(database, ask.retention, _RUNS):
        trees = await kept.trees(database, ids)
        yield pb.CollectGarbageRequest(run_ids=ids, trees=trees[:PAGE])
        for start in range(PAGE, len(trees), PAGE):
            yield pb.CollectGarbageRequest(trees=trees[start : start + PAGE])
    yield pb.CollectGarbageRequest(last=True)
