"""One LISTEN connection per process. A notification is a hint that there may be events up to a position."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import psycopg

from interlock.common.errors import InterlockError
from interlock.common.tasks import stop
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.notifier import CHANNEL

_log = logging.getLogger(__name__)
_MAX_DELAY = 2.0


class Listener:
    """Calls `hint(position)` for each notification, and `hint(None)` ("look yourself") at each connect and poll.

    Reconnects with back-off for as long as it runs.

    Args:
        poll: seconds after which it hints without having heard anything.
    """

    def __init__(self, database: Database, hint: Callable[[int | None], None], *, poll: float = 1.0) -> None:
        self._database = database
        self._hint = hint
        self._poll = poll
        self._task: asyncio.Task[None] | None = None
        self.connected = asyncio.Event()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="feed-listener")

    async def close(self) -> None:
        await stop(self._task)

    async def _run(self) -> None:
        delay = 0.05
        while True:
            try:
                driver = await self._database.connect()
                try:
                    await driver.execute(f"LISTEN {CHANNEL}")
                    delay = 0.05
                    await self._hear(driver)
                finally:
                    self.connected.clear()
                    await driver.close()
            except (InterlockError, psycopg.Error) as error:
                _log.warning(
                    "not listening to the database; trying again", extra={"error": type(error).__name__}
                )
            self._hint(None)
            await asyncio.sleep(delay)
            delay = min(delay * 2, _MAX_DELAY)

    async def _hear(self, driver: psycopg.AsyncConnection[object]) -> None:
        self.connected.set()
        while not driver.closed:
            self._hint(None)
            async for note in driver.notifies(timeout=self._poll):
                self._hint(int(note.payload) if note.payload.isdecimal() else None)
