"""Moves of workspaces in the register: what was begun, how it ended, and the answers to those who asked."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from interlock.executor.workspaces.register import Publication
from interlock.executor.workspaces.register_file import RegisterFile


@dataclass(frozen=True)
class Record:
    """The write-ahead record of one move of a workspace.

    `base` is the tree the base directory comes from, `live` the one the live directory comes from (None: the
    live directory is not changed), `target` where both go. `request` is the digest pair that was asked for.
    `back`: the move could not go on for this reason, and both directories are on their way back.
    """

    workspace: str
    token: str
    base: bytes
    live: bytes | None
    target: bytes
    cause: str
    key: str = ""
    request: bytes = b""
    how: str = "published"
    back: str = ""


class Records(RegisterFile):
    """The part of the register that is about moves; every method is one transaction."""

    def begin(self, record: Record) -> None:
        """Write a record ahead of the first change it describes."""
        with self._transaction() as db:
            db.execute("INSERT INTO records VALUES(?,?,?,?,?,?,?,?,?,?)", astuple(record))

    def abandon(self, record: Record) -> None:
        """Drop a record before anything was changed."""
        with self._transaction() as db:
            _ended(db, record)

    def turn_back(self, record: Record) -> None:
        """Both directories go back from here on, for the reason in `record.back`."""
        with self._transaction() as db:
            db.execute("UPDATE records SET back=? WHERE workspace=?", (record.back, record.workspace))

    def finish(self, record: Record, at: str, kept: Sequence[str] = ()) -> None:
        """The move is done: new head, the answer for its key, no record. `kept`: live paths left alone."""
        with self._transaction() as db:
            self._entries.head(db, record.workspace, record.target, record.cause, record.key, at)
            if record.key:
                done = Publication(record.request, record.target, record.how, len(kept), tuple(kept))
                self._entries.answer(db, record.workspace, record.key, done, at, anew=True)
            _ended(db, record)

    def note_mode(self, workspace: str, path: bytes, mode: int) -> None:
        """A directory of the live one has this mode, and is about to be opened up by the move that was begun."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO modes VALUES(?,?,?)", (workspace, path, mode))

    def noted_modes(self, workspace: str) -> dict[bytes, int]:
        """What `note_mode` was told since the move began."""
        return dict(self._rows("SELECT path, mode FROM modes WHERE workspace=?", workspace))

    def answer(self, workspace: str, key: str, request: bytes, head: bytes, how: str) -> None:
        """Keep the answer of a publication that had nothing to move."""
        with self._transaction() as db:
            self._entries.answer(db, workspace, key, Publication(request, head, how, 0, ()), self._now())

    def publication(self, workspace: str, key: str) -> Publication | None:
        """How what was asked under a key ended; None when it did not."""
        rows = self._rows(
            "SELECT request, head, how, kept FROM publications WHERE workspace=? AND key=?", workspace, key
        )
        if not rows:
            return None
        count, *kept = json.loads(rows[0][3] or "[0]")
        return Publication(rows[0][0], rows[0][1], rows[0][2], count, tuple(kept))

    def was_published(self, workspace: str, pair: bytes, until: str = "") -> bool:
        """Whether a publication asked for this pair of trees (from, to) and was carried out, by a time or ever."""
        rows = self._rows(
            "SELECT 1 FROM publications WHERE workspace=? AND request=? AND (?='' OR at<=?) LIMIT 1",
            workspace,
            pair,
            until,
            until,
        )
        return bool(rows)

    def records(self, workspace: str = "") -> list[Record]:
        """Unfinished moves, of one workspace or of all."""
        rows = self._rows("SELECT * FROM records WHERE ?='' OR workspace=?", workspace, workspace)
        return [Record(*row) for row in rows]


def _ended(db: sqlite3.Connection, record: Record) -> None:
    db.execute("DELETE FROM records WHERE workspace=?", (record.workspace,))
    db.execute("DELETE FROM modes WHERE workspace=?", (record.workspace,))
