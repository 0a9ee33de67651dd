"""The layout of the store's SQLite file, and the counts that are kept in it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from interlock.executor.snapshots.database import columns, transaction
from interlock.executor.snapshots.problems import newer
from interlock.executor.snapshots.rowform import FILE, OVERHEAD

VERSION: Final = 1
"""Of the layout, in the file's `user_version`: 0 had neither `added` nor `totals`."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects(
  id BLOB PRIMARY KEY, form INTEGER NOT NULL, size INTEGER NOT NULL, data BLOB NOT NULL,
  added INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS totals(
  one INTEGER PRIMARY KEY CHECK(one=1), objects INTEGER NOT NULL, content INTEGER NOT NULL, stored INTEGER NOT NULL);
"""
_COUNT = """
INSERT OR REPLACE INTO totals SELECT 1, count(*), coalesce(sum(size),0),
  coalesce(sum(length(data) + CASE form WHEN ? THEN size ELSE 0 END),0) + ? * count(*) FROM objects
"""


def upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Give a file, new or of an earlier release, this layout. Raises UNAVAILABLE for one of a later release."""
    known = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if known > VERSION:
        raise newer(path, known, VERSION)
    connection.executescript(_SCHEMA)
    if known == VERSION:
        return
    with transaction(connection) as db:
        if "added" not in columns(db, "objects"):
            db.execute("ALTER TABLE objects ADD COLUMN added INTEGER NOT NULL DEFAULT 0")
        db.execute(_COUNT, (FILE, OVERHEAD))
        db.execute(f"PRAGMA user_version={VERSION}")


def count(db: sqlite3.Connection, objects: int, content: int, stored: int) -> None:
    """Add to what the file says it holds, in the transaction that changes it: objects, their bytes, bytes stored."""
    db.execute(
        "UPDATE totals SET objects=objects+?, content=content+?, stored=stored+?",
        (objects, content, stored),
    )
