"""Runs of this process that wait for their workspace: each is told when it is its turn.

Whose turn it is says the database, and taking the workspace is checked there again (`0004_flush.sql`). What is heard
of other runs' ends is a hint to look; without any, it is looked now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from interlock.common import logs
from interlock.common.errors import InterlockError
from interlock.common.tasks import stop
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.readers import others
from interlock.orchestrator.store.records import FeedRow

_log = logs.get("line")
_RELEASES = frozenset(
    {
        "run.completed",
        "run.failed",
        "run.cancelled",
        "run.rolled_back",
        "run.rollback_failed",
        "step.reverted",
        "step.revert_failed",
    }
)


class Line:
    """One query serves all that wait here.

    Args:
        poll: seconds after which it looks without having heard anything.
    """

    def __init__(self, database: Database, *, poll: float = 1.0) -> None:
        self._database = database
        self._poll = poll
        self._waiting: dict[str, asyncio.Event] = {}
        self._look = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Looks no more."""
        await stop(self._task)

    def hear(self, rows: Sequence[FeedRow]) -> None:
        """Something happened to some runs; a workspace may have become free."""
        if self._waiting and any(row.type in _RELEASES for row in rows):
            self._look.set()

    async def turn(self, run_id: str) -> None:
        """Returns when the run's workspace is free and nobody waits before it."""
        told = self._waiting.setdefault(run_id, asyncio.Event())
        self._look.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="line")
        try:
            await told.wait()
        finally:
            if self._waiting.get(run_id) is told:
                del self._waiting[run_id]

    async def _run(self) -> None:
        while self._waiting:
            self._look.clear()
            try:
                for run_id in await others.next_in_line(self._database, list(self._waiting)):
                    if (told := self._waiting.get(run_id)) is not None:
                        told.set()
            except InterlockError as error:
                _log.warning("cannot see whose turn it is", reason=error.reason.value)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll):
                    await self._look.wait()
