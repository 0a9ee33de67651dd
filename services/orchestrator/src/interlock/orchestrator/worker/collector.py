"""Collects garbage on the executor at intervals, and forgets old requests; of all orchestrators, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from interlock.common import logs
from interlock.common.errors import InterlockError
from interlock.common.tasks import stop
from interlock.orchestrator.clients.collecting import Collection, collect
from interlock.orchestrator.clients.executor import ExecutorClient
from interlock.orchestrator.store import turns
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.readers import others

_HOLD: Final = 120.0
"""Seconds a turn is held without a sign of life; signs come three times as often."""

_LOOK: Final = 60.0
_REQUESTS: Final = 10_000
"""Forgotten in one statement."""

_log = logs.get("collector")


class Collector:
    """The periodic collection on one executor.

    Args:
        executor_address: names the turn.
        interval: seconds between collections, whoever does them; 0 is never.
        retention: how far back ended runs are kept, and for how long a repeated request gets its first answer.
        look: seconds between looks at whether it is due.
    """

    def __init__(
        self,
        database: Database,
        executor: ExecutorClient,
        executor_address: str,
        *,
        interval: float,
        retention: timedelta,
        look: float = _LOOK,
    ) -> None:
        self._database, self._executor = database, executor
        self._turn = f"collector {executor_address}"
        self._interval, self._retention, self._look = interval, retention, look
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look; the first time after one look's time."""
        if self._interval:
            self._task = asyncio.create_task(self._run(), name="collector")

    async def close(self) -> None:
        """Stop. A collection under way ends with nothing removed, or goes on in the executor."""
        await stop(self._task)

    async def once(self) -> bool:
        """Collect if it is due and nobody else is at it. Returns whether it was done."""
        if not await turns.take(self._database, self._turn, _HOLD):
            return False
        try:
            async with self._kept():
                while await others.forget_requests(self._database, self._retention, _REQUESTS) == _REQUESTS:
                    pass
                done = await collect(self._database, self._executor, Collection(self._retention))
        except InterlockError as error:
            _log.warning("not collected", reason=error.reason.value)
            return False
        await turns.extend(self._database, self._turn, self._interval)
        _log.info("collected", objects=done.objects_removed, bytes_freed=done.bytes_freed)
        return True

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(min(self._look, self._interval))
            with contextlib.suppress(InterlockError):  # the database is away: it is due all the same
                await self.once()

    @asynccontextmanager
    async def _kept(self) -> AsyncIterator[None]:
        """Signs of life while it goes on."""

        async def sign() -> None:
            while True:
                await asyncio.sleep(_HOLD / 3)
                with contextlib.suppress(InterlockError):
                    await turns.extend(self._database, self._turn, _HOLD)

        task = asyncio.create_task(sign())
        try:
            yield
        finally:
            await stop(task)
