"""Rows of the register that come into being: written, and told to collections that have begun.

A collection takes long to be told what to keep. What was entered since it began it knows from here, and not from
times, which a clock that is set or a suspended machine makes old in an instant.
"""

from __future__ import annotations

import json
import sqlite3
import weakref

from interlock.executor.snapshots.model import Snapshot, Totals
from interlock.executor.workspaces.register import KEPT_PATHS, Publication
from interlock.executor.workspaces.retention import note_of


class Since:
    """From a position in the register on: `notes` are of the trees, heads' numbers and keys entered after it."""

    __slots__ = ("__weakref__", "notes")

    def __init__(self) -> None:
        self.notes: set[bytes] = set()


class Entries:
    """Writes rows in the caller's transactions. The caller keeps other threads away, also for `begin`."""

    def __init__(self) -> None:
        # Who asked and went away takes its notes with it.
        self._watching: weakref.WeakSet[Since] = weakref.WeakSet()

    def begin(self) -> Since:
        """What is entered from here on, for as long as somebody holds the answer."""
        since = Since()
        self._watching.add(since)
        return since

    def snapshot(
        self, db: sqlite3.Connection, workspace: str, snapshot: Snapshot, totals: Totals, at: str
    ) -> None:
        """The times and the size that go with a tree."""
        self._note(workspace, snapshot.tree)
        db.execute(
            "INSERT OR REPLACE INTO snapshots VALUES(?,?,?,?,?,?)",
            (workspace, snapshot.tree, snapshot.times, totals.entries, totals.content_bytes, at),
        )

    def head(
        self, db: sqlite3.Connection, workspace: str, tree: bytes, cause: str, key: str, at: str
    ) -> None:
        """The next state of a workspace."""
        [(number,)] = db.execute(
            "INSERT INTO heads SELECT ?, coalesce(max(number),0)+1, ?, ?, ?, ? FROM heads WHERE workspace=?"
            " RETURNING number",
            (workspace, tree, cause, key, at, workspace),
        ).fetchall()
        self._note(workspace, tree, b"%d" % number)

    def answer(
        self,
        db: sqlite3.Connection,
        workspace: str,
        key: str,
        done: Publication,
        at: str,
        *,
        anew: bool = False,
    ) -> None:
        """How what was asked under a key ended. The first answer stays, unless it is given `anew`."""
        self._note(workspace, key.encode(), done.request[-64:-32], done.request[-32:], done.head)
        kept = json.dumps([done.kept_count, *done.kept[:KEPT_PATHS]]) if done.kept else ""
        db.execute(
            f"INSERT OR {'REPLACE' if anew else 'IGNORE'} INTO publications VALUES(?,?,?,?,?,?,?)",
            (workspace, key, done.request, done.head, done.how, at, kept),
        )

    def _note(self, workspace: str, *names: bytes) -> None:
        for since in self._watching:
            since.notes.update(note_of(workspace, name) for name in names)
