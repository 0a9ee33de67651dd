"""Being the only one on a database that does something: an advisory lock, held for as long as its connection lives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

import psycopg

from interlock.common.tasks import stop
from interlock.orchestrator.store.engine import Database, unavailable

_SIGN: Final = 2.0
"""Seconds between looks at whether the connection still lives."""
_LOCK: Final = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"


async def while_alone(database: Database, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
    """Does the work unless another process does it now; cancels it when the lock is lost.

    Returns whether it was done here. Raises DATABASE_UNAVAILABLE when the connection was lost, and what it raises.
    """
    try:
        driver = await database.connect()
        try:
            found = await (await driver.execute(_LOCK, (name,))).fetchone()
            if not (found and found[0]):
                return False
            await _guarded(driver, work)
            return True
        finally:
            await driver.close()
    except psycopg.Error as error:
        raise unavailable(error) from error


async def _guarded(
    driver: psycopg.AsyncConnection[Any], work: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    working = asyncio.create_task(work())
    try:
        while not working.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SIGN):
                    await asyncio.shield(working)
            if not working.done():
                await driver.execute("SELECT 1")
    finally:
        await stop(working)
