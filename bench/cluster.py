"""The PostgreSQL of a run of the bench: one server for all engines, a fresh database for each measure."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from interlock.common.postgres import EmbeddedPostgres

SETTINGS = {"max_connections": "300", "shared_buffers": "256MB", "max_wal_size": "2GB"}
"""On top of the embedded server's own, which are durable: fsync, synchronous_commit and full_page_writes are on."""


class Cluster:
    """The embedded server in a directory of its own, removed at the end."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="interlock-bench-"))
        self._directory.chmod(0o711)
        self._server = EmbeddedPostgres(self._directory / "pg", SETTINGS)
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The postmaster's pid."""
        found = self._server.pid
        assert found is not None
        return found

    @property
    def version(self) -> str:
        """What the server says it is."""
        with self._admin() as connection:
            row = connection.execute("SHOW server_version").fetchone()
        return str(row[0]) if row else ""

    def fresh(self, name: str) -> str:
        """A new empty database, after a checkpoint; its SQLAlchemy URL."""
        database = f"{name}_{next(self._numbers)}"
        with self._admin() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
            connection.execute("CHECKPOINT")
        return self._server.url_of(database)

    def drop(self, url: str) -> None:
        """Removes a database, whoever is still connected."""
        database = url.rsplit("/", 1)[-1].split("?", maxsplit=1)[0]
        with self._admin() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))

    def slow_commits(self, microseconds: int) -> None:
        """Every commit waits so long before it flushes, as on a slow disk; 0: none does."""
        with self._admin() as connection:
            for name, value in (
                ("commit_delay", microseconds),
                ("commit_siblings", 0 if microseconds else 5),
            ):
                connection.execute(
                    sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
                )
            connection.execute("SELECT pg_reload_conf()")

    def _admin(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(libpq(self._server.url), autocommit=True)


def libpq(url: str) -> str:
    """A SQLAlchemy URL as libpq reads it."""
    return url.replace("postgresql+psycopg://", "postgresql://")
