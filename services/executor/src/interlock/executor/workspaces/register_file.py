"""The file of the executor's register: opened, brought up to date, written in transactions."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from interlock.common.clock import SystemClock, rfc3339
from interlock.executor.snapshots.database import columns, connect, transaction
from interlock.executor.snapshots.problems import newer
from interlock.executor.snapshots.sessions import Sessions
from interlock.executor.workspaces.entries import Entries
from interlock.executor.workspaces.register import SCHEMA, VERSION

_ADDED: Final = (
    ("records", "back"),
    ("publications", "kept"),
    ("workspaces", "limits"),
    ("workspaces", "left_out"),
)
"""Columns that a later layout has: table and name."""


def now_text() -> str:
    """The time, as rows have it."""
    return rfc3339(SystemClock().now())


class RegisterFile:
    """Thread-safe: a transaction has the file for itself. Raises STORE_FULL where the disk is.

    Args:
        sessions: told of every tree that is looked up, which is then in use.
        now: the time, as rows have it.
    """

    def __init__(
        self, path: Path, sessions: Sessions | None = None, now: Callable[[], str] = now_text
    ) -> None:
        self._lock = threading.RLock()
        self._sessions = sessions or Sessions()
        self._now = now
        self._entries = Entries()
        self._db = connect(path)
        self._db.executescript(SCHEMA)
        self._upgrade(path)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _upgrade(self, path: Path) -> None:
        known = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if known > VERSION:
            raise newer(path, known, VERSION)
        with self._transaction() as db:
            for table in ("snapshots", "publications"):
                if "at" not in columns(db, table):
                    db.execute(f"ALTER TABLE {table} ADD COLUMN at TEXT NOT NULL DEFAULT ''")
                # How old they are is not known: they count from now.
                db.execute(f"UPDATE {table} SET at=? WHERE at=''", (self._now(),))  # noqa: S608 fixed names
            for table, column in _ADDED:
                if column not in columns(db, table):
                    db.execute(f"ALTER TABLE {table} ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")
            db.execute(f"PRAGMA user_version={VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, transaction(self._db) as db:
            yield db

    def _rows(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(sql, arguments).fetchall()
