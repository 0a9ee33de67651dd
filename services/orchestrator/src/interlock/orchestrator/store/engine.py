"""The connection pool, and the one place where driver errors become errors that may be shown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection as PooledConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from interlock.common.errors import InterlockError, Reason

_log = logging.getLogger(__name__)
CONNECT_SECONDS: Final = 10
CLOSE_SECONDS: Final = 5
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
        pool: connections for queries and commands; the journal, the listener and the notifier have one of
            their own each (`RawConnection`), outside the pool.
    """

    def __init__(self, url: str, *, pool: int = 8) -> None:
        self.url = database_url(url)
        self._options = {"connect_timeout": CONNECT_SECONDS, "application_name": "interlock"}
        self.engine: AsyncEngine = create_async_engine(
            self.url,
            pool_size=pool,
            max_overflow=4,
            pool_timeout=CONNECT_SECONDS,
            pool_pre_ping=False,
            pool_recycle=1800,
            hide_parameters=True,
            connect_args=self._options,
        )
        self._borrowed = 0
        self._returned = asyncio.Event()
        self._closed = False
        self._drivers: set[AsyncConnection[Any]] = set()
        event.listen(self.engine.sync_engine, "connect", self._connected, insert=True)

    def _connected(self, adapted: Any, _record: object) -> None:
        """Remembers each connection of the pool from its first moment on, whatever the pool makes of it."""
        self._drivers = {driver for driver in self._drivers if not driver.closed}
        self._drivers.add(adapted.driver_connection)

    async def close(self) -> None:
        """Afterwards no connection of the pool is open, and queries get DATABASE_UNAVAILABLE.

        The pool forgets connections that are in use while it is disposed of, and never closes them. So this
        waits for them (up to `CLOSE_SECONDS`; whoever uses one was cancelled or is about to end), then closes
        those that are still out.
        """
        self._closed = True
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                while self._borrowed:
                    self._returned.clear()
                    await self._returned.wait()
        except TimeoutError:
            _log.warning("queries outlive the database's pool", extra={"queries": self._borrowed})
        finally:
            try:
                await self.engine.dispose()
            finally:
                for driver in self._drivers:
                    await driver.close()

    @contextlib.asynccontextmanager
    async def borrow(self) -> AsyncIterator[PooledConnection]:
        """A connection of the pool; it is back in it when the block has ended. Raises DATABASE_UNAVAILABLE."""
        if self._closed:
            raise unavailable()
        self._borrowed += 1
        giving_back: asyncio.Future[None] | None = None
        try:
            connection = await self.engine.connect()
            try:
                yield connection
            finally:
                # A cancelled query's connection is given back in full, even when the cancelling is repeated.
                giving_back = asyncio.ensure_future(connection.close())
                giving_back.add_done_callback(self._gave_back)
                await asyncio.shield(giving_back)
        finally:
            if giving_back is None:
                self._gave_back()

    def _gave_back(self, _done: object = None) -> None:
        self._borrowed -= 1
        self._returned.set()

    async def all(self, statement: Any) -> list[Any]:
        """Rows of a query in a transaction of its own. A connection that had died in the pool is replaced once.

        Not in autocommit, which would be one round trip instead of three: SQLAlchemy sets that on a connection when
        it is taken and takes it back when it is given back, and a query cancelled between the two is never given back.
        """
        for attempt in (1, 2):
            try:
                async with self.borrow() as connection:
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
            async with self.borrow() as connection, connection.begin():
                result = await connection.execute(statement)
                return list(result.all()) if result.returns_rows else []
        except (DBAPIError, PoolTimeout, OSError) as error:
            if not is_outage(error):
                raise
            raise unavailable(error, "unknown") from error

    async def connect(self) -> AsyncConnection[Any]:
        """A driver's connection outside the pool, in autocommit, which prepares every statement.

        Raises DATABASE_UNAVAILABLE. Whoever calls it closes it. When it is cancelled nothing is left open: up
        to the driver's last await there is only libpq's handle, which ends its connection when it is dropped.
        """
        if self._closed:
            raise unavailable()
        arguments, options = self.engine.dialect.create_connect_args(self.url)
        try:
            return await AsyncConnection.connect(
                *arguments, **{**options, **self._options}, autocommit=True, prepare_threshold=0
            )
        except (psycopg.Error, OSError) as error:
            raise unavailable(error) from error


def _bad_url(what: str) -> InterlockError:
    return InterlockError(
        Reason.INVALID_ARGUMENT,
        f"INTERLOCK_DATABASE_URL {what}.",
        field="INTERLOCK_DATABASE_URL",
        fix="Use postgresql://user:password@host:5432/database.",
    )
