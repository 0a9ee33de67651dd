"""Tells the other replicas that there are new events: a coalesced NOTIFY on a connection of its own.

Never inside a flush: NOTIFY makes commits take turns. It is only a hint; who misses it polls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import psycopg

from interlock.common.errors import InterlockError
from interlock.common.tasks import stop
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.records import Flushed

CHANNEL: Final = "interlock_feed"
_REST: Final = 0.01
"""Seconds between two notifications: under load one of them stands for many flushes."""


class Notifier:
    """Sends the newest position. `hint` is a subscriber for `Journal.on_flush`.

    Args:
        heard: whether there may be anybody to hear it; one that has just begun polls.
    """

    def __init__(self, database: Database, heard: Callable[[], bool] = lambda: True) -> None:
        self._database = database
        self._heard = heard
        self._position = 0
        self._wake = asyncio.Event()
        self._driver: psycopg.AsyncConnection[Any] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="feed-notifier")

    async def close(self) -> None:
        try:
            await stop(self._task)
        finally:
            await self._disconnect()

    def hint(self, news: Flushed) -> None:
        self._position = news.last
        if self._heard():
            self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._send(str(self._position))
                await asyncio.sleep(_REST)
            except (InterlockError, psycopg.Error):
                await self._disconnect()
                await asyncio.sleep(1.0)  # listeners poll meanwhile

    async def _send(self, position: str) -> None:
        if self._driver is None:
            self._driver = await self._database.connect()
        await self._driver.execute("SELECT pg_notify(%s, %s)", (CHANNEL, position))

    async def _disconnect(self) -> None:
        driver, self._driver = self._driver, None
        if driver:
            await driver.close()
