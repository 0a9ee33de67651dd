"""The flusher's connection: one at a time, reopened when lost, with what is needed to learn how a flush ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import psycopg

from interlock.orchestrator.store import arrays
from interlock.orchestrator.store.batch import PARAMETERS, parameters
from interlock.orchestrator.store.engine import Database, is_outage, unavailable
from interlock.orchestrator.store.records import Append

# Generic plans with index scans only: a plan made while the tables were small must not be kept as they grow.
_SETTINGS: Final = """
SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;
SET enable_mergejoin = off; SET jit = off; SET statement_timeout = '30s';
SET idle_in_transaction_session_timeout = '10s'; SET synchronous_commit = on
"""
_FLUSH: Final = "SELECT * FROM journal_flush(" + "%b, " * (PARAMETERS - 1) + "%s::jsonb)"
_WHO: Final = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
_END: Final = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s"
)
_WRITTEN: Final = """
SELECT u.i, j.position, r.epoch, r.lease_owner
  FROM unnest(%b, %b, %b) WITH ORDINALITY AS u(run, seq, hash, i)
  JOIN journal j ON j.run_id = u.run AND j.seq = u.seq AND j.hash = u.hash
  JOIN runs r ON r.id = u.run
"""


class Verdicts:
    """The answer to a batch, in its order: parallel lists, see `0004_flush.sql`.

    `withdrawn`: nothing of it was written, because not all of it could be.
    """

    def __init__(self, row: Sequence[Any], *, withdrawn: bool = False) -> None:
        self.withdrawn = withdrawn
        self.codes: list[int] = row[0]
        self.seqs: list[int] = row[1]
        self.epochs: list[int] = row[2]
        self.starts: list[int] = row[3]


class Link:
    """Raises DATABASE_UNAVAILABLE when the connection is lost, psycopg.Error when a statement is refused."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._driver: psycopg.AsyncConnection[Any] | None = None
        self._backend: tuple[Any, ...] | None = None

    @property
    def is_open(self) -> bool:
        return self._driver is not None

    async def open(self) -> None:
        """Connects, and ends what the previous connection may still be doing: after this it is decided."""
        await self.close()
        driver = await self._database.connect()
        try:
            arrays.register(driver)
            await driver.execute(_SETTINGS, prepare=False)
            await self._end_previous(driver)
            found = await (await driver.execute(_WHO)).fetchone()
        except BaseException as error:  # also when it is cancelled: nobody else knows of this connection yet
            await driver.close()
            if isinstance(error, psycopg.Error):
                raise unavailable(error) from error
            raise
        self._backend = tuple(found) if found else None
        self._driver = driver

    async def _end_previous(self, driver: psycopg.AsyncConnection[Any]) -> None:
        if self._backend:
            ended = await (await driver.execute(_END, self._backend)).fetchone()
            if ended and not ended[0]:
                raise unavailable(outcome="unknown")

    async def close(self) -> None:
        driver, self._driver = self._driver, None
        if driver:
            await driver.close()

    async def flush(self, batch: Sequence[Append]) -> Verdicts:
        """Writes the batch in one transaction, in one round trip."""
        row = (await self._rows(_FLUSH, parameters(batch)))[0]
        return Verdicts(row)

    async def flush_all(self, batch: Sequence[Append]) -> Verdicts:
        """Writes all of the batch, or nothing. The transaction stays open until the answer was looked at."""
        driver = self._driver
        if driver is None:
            raise unavailable()
        try:
            async with driver.transaction():
                row = (await self._rows(_FLUSH, parameters(batch)))[0]
                if any(row[0]):
                    raise psycopg.Rollback()
        except psycopg.Error as error:
            if driver.closed or is_outage(error):
                await self.close()
                raise unavailable(error, "unknown") from error
            raise
        return Verdicts(row, withdrawn=any(row[0]))

    async def written(self, batch: Sequence[Append]) -> dict[int, tuple[int, int, str | None]]:
        """Which appends (by index) are in the journal: their last position, and the run's epoch and owner now."""
        ends = [(a.run_id, a.events[-1].seq, a.events[-1].hash) for a in batch]
        runs, seqs, hashes = zip(*ends, strict=True)
        rows = await self._rows(_WRITTEN, [arrays.Texts(runs), arrays.Bigints(seqs), arrays.Byteas(hashes)])
        return {i - 1: (position, epoch, owner) for i, position, epoch, owner in rows}

    async def recorded(self, method: str, request_id: str) -> tuple[bytes, bytes] | None:
        """Fingerprint and response of a known request."""
        rows = await self._rows(
            "SELECT fingerprint, response FROM requests WHERE method = %s AND request_id = %s",
            [method, request_id],
        )
        return (bytes(rows[0][0]), bytes(rows[0][1])) if rows else None

    async def holder(self, workspace: str) -> str:
        """The run that has a workspace, or is the first that waits for it; empty when it has just become free."""
        rows = await self._rows(
            "SELECT coalesce(x.holder_run, (SELECT run_id FROM waiters WHERE workspace_id = x.id"
            " ORDER BY number LIMIT 1), '') FROM workspaces x WHERE x.id = %s",
            [workspace],
        )
        return str(rows[0][0]) if rows else ""

    async def _rows(self, query: str, values: Sequence[Any]) -> list[Any]:
        driver = self._driver
        if driver is None:
            raise unavailable()
        try:
            cursor = driver.cursor(binary=True)
            await cursor.execute(query, values)
            return await cursor.fetchall()
        except psycopg.Error as error:
            if driver.closed or is_outage(error):
                await self.close()
                raise unavailable(error, "unknown") from error
            raise
