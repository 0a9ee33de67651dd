"""The connection pool, and the one place where driver errors become errors that may be shown."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection as PooledConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from interlock.common.errors import InterlockError, Reason

CONNECT_SECONDS: Final = 10
_GONE: Final = ("08", "57P", "25006", "53")
"""SQLSTATE prefixes for "not here, not now": connection, shutdown, read-only (failed over), no resources."""


def database_url(text: str) -> URL:
    """The URL for SQLAlchemy with the psycopg driver; accepts `postgresql://` and `postgres://`.

    Raises INVALID_ARGUMENT (without repeating the URL: it may hold a password).
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise _bad_url("is not a URL") from None
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise _bad_url("must start with postgresql://")
    return url.set(drivername="postgresql+psycopg")


def unavailable(error: BaseException | None = None, outcome: str = "not_written") -> InterlockError:
    """DATABASE_UNAVAILABLE; metadata `outcome` is `not_written`, or `unknown` where a commit may have happened."""
    code = sqlstate(error) if error is not None else ""
    return InterlockError(
        Reason.DATABASE_UNAVAILABLE,
        "The database cannot be reached." if not code else f"The database cannot serve this now ({code}).",
        metadata={"outcome": outcome, **({"sqlstate": code} if code else {})},
        retry_after=1.0,
    )


def sqlstate(error: BaseException) -> str:
    """PostgreSQL's five-character code of a driver or SQLAlchemy error; empty when it has none."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    return getattr(origin, "sqlstate", None) or ""


def is_outage(error: BaseException) -> bool:
    """Whether the error says that the server is gone or unable, not that the statement was wrong."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(error, PoolTimeout | OSError):
        return True
    if code := sqlstate(error):
        return code.startswith(_GONE)
    return isinstance(origin, psycopg.OperationalError | psycopg.InterfaceError)


class Database:
    """A pool of connections to one database.

    Args:
        url: as for `database_url`.
        pool: connections for queries and commands; the journal, the listener and the notifier keep one each.
    """

    def __init__(self, url: str, *, pool: int = 8) -> None:
        self.url = database_url(url)
        self.engine: AsyncEngine = create_async_engine(
            self.url,
            pool_size=pool,
            max_overflow=4,
            pool_timeout=CONNECT_SECONDS,
            pool_pre_ping=False,
            pool_recycle=1800,
            hide_parameters=True,
            connect_args={"connect_timeout": CONNECT_SECONDS, "application_name": "interlock"},
        )

    async def close(self) -> None:
        await self.engine.dispose()

    async def all(self, statement: Any) -> list[Any]:
        """Rows of a query in a transaction of its own. A connection that had died in the pool is replaced once."""
        for attempt in (1, 2):
            try:
                async with self.engine.connect() as connection:
                    return list((await connection.execute(statement)).all())
            except (DBAPIError, PoolTimeout, OSError) as error:
                if not is_outage(error):
                    raise
                if attempt == 2 or not getattr(error, "connection_invalidated", False):
                    raise unavailable(error) from error
        raise AssertionError("unreachable")

    async def first(self, statement: Any) -> Any | None:
        """The first row, or None."""
        rows = await self.all(statement)
        return rows[0] if rows else None

    async def write(self, statement: Any) -> list[Any]:
        """Runs one changing statement and commits it; returns its rows. Not repeated on failure."""
        try:
            async with self.engine.begin() as connection:
                result = await connection.execute(statement)
                return list(result.all()) if result.returns_rows else []
        except (DBAPIError, PoolTimeout, OSError) as error:
            if not is_outage(error):
                raise
            raise unavailable(error, "unknown") from error


class RawConnection:
    """The driver's own connection, in autocommit, borrowed from the pool for long."""

    def __init__(self, pooled: PooledConnection, driver: AsyncConnection[Any]) -> None:
        self._pooled = pooled
        self.driver = driver

    @classmethod
    async def open(cls, database: Database) -> RawConnection:
        """Raises DATABASE_UNAVAILABLE. When it is cancelled, no connection is left open."""
        opening = asyncio.ensure_future(cls._open(database))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            with contextlib.suppress(InterlockError):
                await (await opening).close()
            raise

    @classmethod
    async def _open(cls, database: Database) -> RawConnection:
        try:
            pooled = await database.engine.connect()
            driver = (await pooled.get_raw_connection()).driver_connection
            assert isinstance(driver, AsyncConnection)
            await driver.set_autocommit(True)
            driver.prepare_threshold = 0
        except (DBAPIError, PoolTimeout, psycopg.Error, OSError) as error:
            raise unavailable(error) from error
        return cls(pooled, driver)

    async def close(self) -> None:
        """Closes the connection instead of giving it back: its settings are not the pool's."""
        await self.driver.close()
        await self._pooled.invalidate()
        await self._pooled.close()


def _bad_url(what: str) -> InterlockError:
    return InterlockError(
        Reason.INVALID_ARGUMENT,
        f"INTERLOCK_DATABASE_URL {what}.",
        field="INTERLOCK_DATABASE_URL",
        fix="Use postgresql://user:password@host:5432/database.",
    )
