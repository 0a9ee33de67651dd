"""Who is gone is known at once: each orchestrator has a connection of its own that holds an advisory lock.

The server frees the lock when the connection ends, and the connection ends with its process. So a lock that can be
had says that its owner is gone, long before its heartbeat is over. Being gone has to be seen twice, `CONFIRMED`
apart, as a connection can be lost by an owner that lives and takes its lock again. The owner's heartbeat says at
which start of the server it has the lock: after a restart, or on a server that took its place, no lock says anything
until it is taken there. Then, and where there are no lasting connections (a pooler), heartbeats alone count.

It is never more than a hint when to claim: what keeps two owners apart is the epoch, compared in each append.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import psycopg

from interlock.common.errors import InterlockError
from interlock.common.tasks import stop
from interlock.orchestrator.store.engine import Database

_log = logging.getLogger(__name__)
LOOK: Final = 0.25
"""Seconds between two looks at the others."""
CONFIRMED: Final = 0.5
"""Seconds for which a lock must have been free before its owner counts as gone."""
_PATIENCE: Final = 5.0
"""Seconds for one statement."""
_LONGEST: Final = 1.0
"""Seconds between two tries to connect."""
_LOCK: Final = "SELECT pg_advisory_lock(hashtextextended('driver ' || %s, 0))"
_WHERE: Final = "SELECT pg_backend_pid(), pg_postmaster_start_time()"
# Shared: those who look at the same time do not take each other for the owner.
_LOOK: Final = """
WITH others AS MATERIALIZED (
    SELECT owner, until, CASE WHEN server = pg_postmaster_start_time()
               THEN pg_try_advisory_xact_lock_shared(hashtextextended('driver ' || owner, 0)) ELSE false END AS free
      FROM drivers WHERE owner <> %s AND NOT turn
)
SELECT pg_backend_pid(), coalesce(array_agg(owner) FILTER (WHERE free), '{}'),
       coalesce(array_agg(owner), '{}'), count(*) FILTER (WHERE NOT free AND until >= clock_timestamp())
  FROM others
"""
_BURY: Final = """
DELETE FROM drivers WHERE owner = ANY (%s) AND server = pg_postmaster_start_time()
   AND pg_try_advisory_xact_lock_shared(hashtextextended('driver ' || owner, 0)) RETURNING owner
"""


class _PooledError(Exception):
    """What answers is not always the same backend."""


class Presence:
    """Holds the owner's lock and looks at the others'. Goes on without the database, and tries again.

    Args:
        owner: unique per process and start.
        changed: called when `server` has changed, and when somebody's heartbeat was ended, by whomever: there may
            be runs to claim.
    """

    def __init__(self, database: Database, owner: str, changed: Callable[[], None]) -> None:
        self._database = database
        self._owner = owner
        self._changed = changed
        self._free_since: dict[str, float] = {}
        self._known: set[str] = set()
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.server: datetime | None = None
        """The start of the server on which the lock is held; None while it is not held."""
        self.alone = False
        """Whether no other orchestrator lived at the last look; False where that is not known."""

    async def start(self) -> None:
        """Returns when the lock was taken, or could not be at the first try: that goes on by itself."""
        self._task = asyncio.create_task(self._run(), name="drivers-presence")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await self._tried.wait()

    async def close(self) -> None:
        """Gives the lock back."""
        await stop(self._task)

    async def _run(self) -> None:
        delay = 0.02
        while True:
            try:
                driver = await self._database.connect()
                try:
                    await self._take(driver)
                    delay = 0.02
                    await self._look(driver)
                finally:
                    self._lost()
                    await driver.close()
            except _PooledError:
                _log.warning("a pooler keeps orchestrators from seeing at once that another one is gone")
                self._tried.set()
                return
            except (InterlockError, psycopg.Error, TimeoutError) as error:
                _log.warning("presence is not known; trying again", extra={"error": type(error).__name__})
            self._tried.set()
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST)

    def _lost(self) -> None:
        self.server, self.alone = None, False
        self._free_since.clear()
        self._changed()

    async def _take(self, driver: psycopg.AsyncConnection[Any]) -> None:
        await self._one(driver, _LOCK, self._owner)
        pid, server = await self._one(driver, _WHERE)
        self._same(driver, pid)
        self.server = server
        self._tried.set()
        self._changed()

    async def _look(self, driver: psycopg.AsyncConnection[Any]) -> None:
        while True:
            pid, free, known, living = await self._one(driver, _LOOK, self._owner)
            self._same(driver, pid)
            self.alone = not living and not free
            if gone := self._confirmed(free):
                await self._one(driver, _BURY, gone)
            left = set(known) - set(gone)
            if not left >= self._known:
                self._changed()
            self._known = left
            # Waits, and raises at once when the server ends the connection.
            async for _ in driver.notifies(timeout=LOOK):
                pass

    def _confirmed(self, free: Sequence[str]) -> list[str]:
        """Those whose locks were free before, too, and for long enough. Their heartbeats are to be ended; one that
        lives after all begins its own again, and keeps what nobody has claimed.
        """
        now = asyncio.get_running_loop().time()
        self._free_since = {owner: self._free_since.get(owner, now) for owner in free}
        return [owner for owner, since in self._free_since.items() if now - since >= CONFIRMED]

    @staticmethod
    def _same(driver: psycopg.AsyncConnection[Any], pid: int) -> None:
        """A pooler tells its clients a process id of its own, or answers from one backend after another."""
        if driver.info.backend_pid != pid:
            raise _PooledError

    @staticmethod
    async def _one(driver: psycopg.AsyncConnection[Any], statement: str, *values: Any) -> Any:
        async with asyncio.timeout(_PATIENCE):
            return await (await driver.execute(statement, values)).fetchone()
