"""The durable record of effects, epochs and answered requests: one SQLite file.

What a method wrote is on the disk when it returns (WAL, synchronous=FULL). The answer to a step is kept as the bytes
that were sent, so that a repeated call gets the same ones.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.caller import driven
from interlock.executor.domain.model import EffectKey, EffectState
from interlock.executor.effects.retention import Rule, prune
from interlock.executor.snapshots.database import connect, transaction

_OPEN: Final = (EffectState.PREPARING.value, EffectState.PREPARED.value, EffectState.APPLYING.value)
_LATER_COLUMNS: Final = ("approved_request", "owner", "kept")
"""Columns of `effects` that the first release had not, in the order in which they came: all text."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS effects(
  run TEXT NOT NULL, step INTEGER NOT NULL, attempt INTEGER NOT NULL,
  workspace TEXT NOT NULL, fingerprint TEXT NOT NULL, state TEXT NOT NULL, outside INTEGER NOT NULL,
  base_tree TEXT NOT NULL, result_tree TEXT NOT NULL, request_document BLOB NOT NULL, effect_document BLOB NOT NULL,
  request_digest TEXT NOT NULL, effect_digest TEXT NOT NULL, payload BLOB NOT NULL,
  approval TEXT NOT NULL, head_tree TEXT NOT NULL, merged INTEGER NOT NULL, applied_at TEXT NOT NULL, at TEXT NOT NULL,
  approved_request TEXT NOT NULL DEFAULT '', owner TEXT NOT NULL DEFAULT '', kept TEXT NOT NULL DEFAULT '',
  PRIMARY KEY(run, step, attempt)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS effects_state ON effects(state, at);
CREATE TABLE IF NOT EXISTS epochs(run TEXT PRIMARY KEY, epoch INTEGER NOT NULL, at TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS drivers(
  run TEXT NOT NULL, driver TEXT NOT NULL, epoch INTEGER NOT NULL, at TEXT NOT NULL,
  PRIMARY KEY(run, driver)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests(
  method TEXT NOT NULL, id TEXT NOT NULL, fingerprint TEXT NOT NULL, subject TEXT NOT NULL, answer BLOB NOT NULL,
  at TEXT NOT NULL, PRIMARY KEY(method, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sources(workspace TEXT PRIMARY KEY, source BLOB NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Record:
    """One effect as recorded.

    Args:
        outside: the step can act outside the workspace: cut off, its outcome is unknown.
        request_document, effect_document: canonical JSON that the digests are of.
        payload: the answer to Prepare, as sent.
        head_tree, merged, applied_at: how it was published; empty before.
        approved_request: the request digest that was approved before anything ran; empty when none had to be.
        kept, kept_count: paths left alone because somebody saved them during publication: the first, and how many.
        owner: digest of the secret of who prepared it, never told to anyone; empty when it is anyone's.
    """

    key: EffectKey
    workspace: str
    fingerprint: str
    state: EffectState
    outside: bool = False
    base_tree: str = ""
    result_tree: str = ""
    request_document: bytes = b""
    effect_document: bytes = b""
    request_digest: str = ""
    effect_digest: str = ""
    payload: bytes = b""
    approval: str = ""
    head_tree: str = ""
    merged: bool = False
    applied_at: str = ""
    at: str = ""
    approved_request: str = ""
    owner: str = field(default="", repr=False)
    kept: tuple[str, ...] = ()
    kept_count: int = 0

    @property
    def changes(self) -> bool:
        """Whether there is anything to publish."""
        return self.base_tree != self.result_tree


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that was begun (`answer` empty) or answered. `subject` is what it made, decided beforehand."""

    fingerprint: str
    subject: str
    answer: bytes


class EffectStore:
    """Thread-safe; every method is one transaction and blocks."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._db = connect(path)
        self._db.executescript(_SCHEMA)
        self._add_missing_columns()
        self._epochs: dict[tuple[str, str], int] = {}

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _add_missing_columns(self) -> None:
        known = {row[1] for row in self._db.execute("PRAGMA table_info(effects)")}
        for column in _LATER_COLUMNS:
            if column not in known:
                self._db.execute(f"ALTER TABLE effects ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, transaction(self._db) as db:
            yield db

    def _rows(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(sql, arguments).fetchall()

    def get(self, key: EffectKey) -> Record | None:
        """The effect's record, if there is one."""
        rows = self._rows(
            "SELECT * FROM effects WHERE run=? AND step=? AND attempt=?", key.run, key.step, key.attempt
        )
        return _record(rows[0]) if rows else None

    def put(self, record: Record) -> None:
        """Write a record, over what was there."""
        with self._transaction() as db:
            db.execute(f"INSERT OR REPLACE INTO effects VALUES({','.join('?' * 22)})", _row(record))

    def in_state(self, state: EffectState) -> list[Record]:
        """All effects in a state."""
        return [_record(row) for row in self._rows("SELECT * FROM effects WHERE state=?", state.value)]

    def forget(self, key: EffectKey) -> None:
        """Remove a record."""
        with self._transaction() as db:
            db.execute(
                "DELETE FROM effects WHERE run=? AND step=? AND attempt=?", (key.run, key.step, key.attempt)
            )

    def undecided(self) -> list[tuple[str, str]]:
        """Workspace and tree of everything that effects without an end stand on or lead to.

        One that is prepared and changes nothing needs no tree: there is nothing of it to publish.
        """
        rows = self._rows(
            "SELECT workspace, base_tree, result_tree FROM effects WHERE state IN (?,?,?) AND base_tree<>''"
            " AND NOT (state=? AND base_tree=result_tree)",
            *_OPEN,
            EffectState.PREPARED.value,
        )
        return [(row[0], tree) for row in rows for tree in set(row[1:])]

    def previews(self) -> dict[str, int]:
        """How many changes of each workspace wait to be published or thrown away."""
        rows = self._rows(
            "SELECT workspace, count(*) FROM effects WHERE state=? AND base_tree<>result_tree GROUP BY workspace",
            EffectState.PREPARED.value,
        )
        return dict(rows)

    def runs(self) -> set[str]:
        """Every run that something is recorded of."""
        rows = self._rows(
            "SELECT run FROM effects UNION SELECT run FROM epochs UNION SELECT run FROM drivers"
        )
        return {row[0] for row in rows}

    def prune(self, rule: Rule, *, dry_run: bool = False) -> int:
        """Remove records that may go: effects that have ended, answered requests, epochs. Returns how many effects."""
        return prune(self._transaction, rule, dry_run=dry_run)

    def forget_sources(self, known: Iterable[str]) -> None:
        """Only these workspaces are left."""
        gone = {row[0] for row in self._rows("SELECT workspace FROM sources")}.difference(known)
        with self._transaction() as db:
            db.executemany("DELETE FROM sources WHERE workspace=?", ((each,) for each in gone))

    def fence(self, run: str, epoch: int, at: str, driver: str = "") -> None:
        """Refuse a driver that another has followed. Raises EPOCH_STALE, EFFECT_NOT_OWNED.

        The highest epoch seen for a run is kept; once there is one, calls with a lower one, or with none, are
        refused. Each secret of a driver (its digest is `driver`) has epochs of its own, so that only who knows the
        secret can raise the epoch that its holder meets. A run that was called with one refuses calls without.
        """
        with self._lock:
            if not driver and self._rows("SELECT 1 FROM drivers WHERE run=? LIMIT 1", run):
                raise driven(run)
            known = self._epoch(run, driver)
            if epoch < (known or 0):
                raise InterlockError(
                    Reason.EPOCH_STALE,
                    f"Run {run} has a newer driver than the one that makes this call.",
                    field="epoch",
                )
            if epoch > (known or 0) or (driver and known is None):
                self._raise_epoch(run, driver, epoch, at)
            if len(self._epochs) > 10_000:
                self._epochs.clear()  # only a cache of the tables
            self._epochs[run, driver] = epoch

    def _epoch(self, run: str, driver: str) -> int | None:
        if (known := self._epochs.get((run, driver))) is not None:
            return known
        if driver:
            rows = self._rows("SELECT epoch FROM drivers WHERE run=? AND driver=?", run, driver)
        else:
            rows = self._rows("SELECT epoch FROM epochs WHERE run=?", run)
        return int(rows[0][0]) if rows else None

    def _raise_epoch(self, run: str, driver: str, epoch: int, at: str) -> None:
        with self._transaction() as db:
            if driver:
                db.execute("INSERT OR REPLACE INTO drivers VALUES(?,?,?,?)", (run, driver, epoch, at))
            else:
                db.execute("INSERT OR REPLACE INTO epochs VALUES(?,?,?)", (run, epoch, at))

    def begin_request(
        self, method: str, request_id: str, fingerprint: str, subject: str, at: str
    ) -> Answered:
        """Note that a request is being worked on, or return what was noted first. Raises REQUEST_ID_REUSED."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO requests VALUES(?,?,?,?,?,?)",
                (method, request_id, fingerprint, subject, b"", at),
            )
            row = db.execute(
                "SELECT fingerprint, subject, answer FROM requests WHERE method=? AND id=?",
                (method, request_id),
            ).fetchone()
        if row[0] != fingerprint:
            raise InterlockError(
                Reason.REQUEST_ID_REUSED,
                f"The request id {request_id!r} was used for another request.",
                field="request_id",
            )
        return Answered(row[0], row[1], bytes(row[2]))

    def answer_request(self, method: str, request_id: str, answer: bytes) -> None:
        """Keep the answer to a request that was begun."""
        with self._transaction() as db:
            db.execute("UPDATE requests SET answer=? WHERE method=? AND id=?", (answer, method, request_id))

    def drop_request(self, method: str, request_id: str) -> None:
        """A request failed: it may be tried again, also in another form."""
        with self._transaction() as db:
            db.execute("DELETE FROM requests WHERE method=? AND id=? AND answer=x''", (method, request_id))

    def put_source(self, workspace: str, source: bytes) -> None:
        """Keep where a workspace came from, as it was given."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO sources VALUES(?,?)", (workspace, source))

    def source(self, workspace: str) -> bytes:
        """Where a workspace came from; empty when that is not known."""
        rows = self._rows("SELECT source FROM sources WHERE workspace=?", workspace)
        return bytes(rows[0][0]) if rows else b""


def _row(record: Record) -> tuple[object, ...]:
    key = record.key
    return (
        key.run, key.step, key.attempt, record.workspace, record.fingerprint, record.state.value, int(record.outside),
        record.base_tree, record.result_tree, record.request_document, record.effect_document,
        record.request_digest, record.effect_digest, record.payload,
        record.approval, record.head_tree, int(record.merged), record.applied_at, record.at,
        record.approved_request, record.owner,
        json.dumps([record.kept_count, *record.kept]) if record.kept_count else "",
    )  # fmt: skip


def _record(row: tuple[Any, ...]) -> Record:
    (run, step, attempt, workspace, fingerprint, state, outside, base, result, request_document, effect_document,
     request_digest, effect_digest, payload, approval, head, merged, applied_at, at,
     approved_request, owner, kept) = row  # fmt: skip
    kept_count, *kept_paths = json.loads(kept or "[0]")
    return Record(
        EffectKey(run, step, attempt), workspace, fingerprint, EffectState(state), bool(outside), base, result,
        bytes(request_document), bytes(effect_document), request_digest, effect_digest, bytes(payload),
        approval, head, bool(merged), applied_at, at, approved_request, owner, tuple(kept_paths), kept_count,
    )  # fmt: skip
