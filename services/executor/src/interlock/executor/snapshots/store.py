"""The content-addressed store: one SQLite file for small objects, one file each for big ones.

An object is bytes; its id is their sha256. Objects are never changed. A batch is durable when its `commit`
returns: SQLite in WAL mode with synchronous=FULL, big files fsynced before the row that names them.
Layout below the store's directory: `objects.db` and `big/<first two hex digits>/<hex>`.

The store grows to a cap. `Sweep` takes out what nothing refers to (docs/storage.md).
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files import failpoints
from interlock.executor.snapshots import lookup
from interlock.executor.snapshots.batch import BIG_BYTES, Batch, Screen
from interlock.executor.snapshots.bigfiles import BigFiles
from interlock.executor.snapshots.cache import Lru
from interlock.executor.snapshots.database import (
    connect,
    disk_full,
    disk_is_full,
    shrink,
    transaction,
)
from interlock.executor.snapshots.encoding import Malformed, decode_directory, decode_times
from interlock.executor.snapshots.model import Entry, Times
from interlock.executor.snapshots.objects import count, upgrade
from interlock.executor.snapshots.problems import missing, newer, store_full
from interlock.executor.snapshots.room import Reserve
from interlock.executor.snapshots.rowform import FILE, OVERHEAD, Row, stored_bytes
from interlock.executor.snapshots.sessions import Sessions

__all__ = ["BIG_BYTES", "Batch", "Store", "StoreSize", "Stored", "connect", "missing", "newer", "store_full"]


class StoreSize(NamedTuple):
    """Objects held; their bytes as content (before compression); bytes as stored, which the cap bounds."""

    objects: int
    content_bytes: int
    disk_bytes: int


class Stored(NamedTuple):
    """One object's facts: `stored` counts against the cap, `added` is when (seconds since 1970; 0: long ago)."""

    id: bytes
    stored: int
    added: int


class Store:
    """Thread-safe. Readers have a connection per thread; writers go through `batch`.

    Args:
        max_bytes: the cap on what is stored; 0 is none.

    `on_full` is called, on the thread that writes, when the cap or the disk leaves no room: it may free some.
    """

    def __init__(self, directory: Path, max_bytes: int = 0) -> None:
        self.directory = directory
        self.max_bytes = max_bytes
        self.on_full: Callable[[], None] | None = None
        self.sessions = Sessions()
        self._doomed: frozenset[bytes] = frozenset()
        self._big = BigFiles(directory / "big")
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._directories: Lru[Mapping[bytes, Entry]] = Lru(20_000)
        self._times: Lru[Mapping[bytes, Times]] = Lru(20_000)
        self._write_lock = threading.Lock()
        self._writer = self._connect()
        self.reserve = Reserve(directory)
        upgrade(self._writer, directory / "objects.db")

    def close(self) -> None:
        """Close every connection. No method may be called afterwards."""
        with self._guard:
            for connection in self._all:
                connection.close()
            self._all.clear()

    def has(self, object_id: bytes) -> bool:
        """Whether the object is here."""
        return self._row("SELECT 1 FROM objects WHERE id=?", object_id) is not None

    def size(self, object_id: bytes) -> int:
        """The object's length in bytes. Raises TREE_NOT_FOUND."""
        row = self._row("SELECT size FROM objects WHERE id=?", object_id)
        if row is None:
            raise missing(object_id)
        return int(row[0])

    def sizes(self, ids: Iterable[bytes]) -> dict[bytes, int]:
        """The length in bytes of each of these objects. Raises TREE_NOT_FOUND."""
        wanted = set(ids)
        found = self.known_sizes(wanted)
        if len(found) < len(wanted):
            raise missing(min(wanted - found.keys()))
        return found

    def known_sizes(self, ids: Iterable[bytes]) -> dict[bytes, int]:
        """The length in bytes of each of these objects that is there."""
        return {row[0]: int(row[1]) for row in lookup.rows(self._reader(), "size", ids)}

    def small(self, ids: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Ids and checked bytes of those of these objects that are there and are no files, in any order."""
        for object_id, form, data in lookup.rows(self._reader(), "form, data", ids):
            if form != FILE:
                yield object_id, lookup.plain(object_id, form, data)

    def get(self, object_id: bytes) -> bytes:
        """All of an object's bytes, checked against its id. Raises TREE_NOT_FOUND; EFFECT_TAMPERED when damaged."""
        return b"".join(self.chunks(object_id))

    def chunks(self, object_id: bytes) -> Iterator[bytes]:
        """The object's bytes in pieces; small objects come as one, already checked.

        A big one is checked at its end: use what was yielded only when the iterator finished.
        """
        row = self._row("SELECT form, data FROM objects WHERE id=?", object_id)
        if row is None:
            raise missing(object_id)
        form, data = row
        if form == FILE:
            yield from self._big.chunks(object_id)
        else:
            assert isinstance(data, bytes)
            yield lookup.plain(object_id, int(form), data)

    def big_path(self, object_id: bytes) -> Path | None:
        """The file that holds a big object (to clone from); None for a small one. Raises TREE_NOT_FOUND."""
        return self._big.path(object_id) if self.size(object_id) > BIG_BYTES else None

    def directory_entries(self, tree: bytes) -> Mapping[bytes, Entry]:
        """A directory object decoded, in name order. Shared: never change it. Raises TREE_NOT_FOUND."""
        found = self._directories.get(tree)
        if found is None:
            try:
                found = decode_directory(self.get(tree))
            except Malformed:
                raise missing(tree) from None
            self._directories.put(tree, found)
        return found

    def times(self, times: bytes) -> Mapping[bytes, Times]:
        """A times object decoded; empty for `b""` and where it is not known or damaged. Shared: never change it."""
        if not times:
            return {}
        found = self._times.get(times)
        if found is None:
            try:
                found = decode_times(self.get(times)) if self.has(times) else {}
            except (Malformed, InterlockError):
                found = {}  # times are no content: without them nothing is lost, and nothing stops half-way
            self._times.put(times, found)
        return found

    def batch(self, screen: Screen | None = None) -> Batch:
        """A new set of objects to write, kept in memory up to a few MiB at a time."""
        return Batch(self, screen)

    def usage(self) -> StoreSize:
        """What the store holds. Costs nothing: the counts are kept."""
        row = self._row("SELECT objects, content, stored FROM totals")
        assert row is not None
        return StoreSize(int(row[0]), int(row[1]), int(row[2]))

    def page(self, after: bytes, limit: int) -> list[Stored]:
        """Objects in order of id, after one."""
        rows = self._reader().execute(
            "SELECT id, length(data) + CASE form WHEN ? THEN size ELSE 0 END, added FROM objects"
            " WHERE id>? ORDER BY id LIMIT ?",
            (FILE, after, limit),
        )
        return [Stored(row[0], row[1] + OVERHEAD, row[2]) for row in rows]

    def known_still(self, ids: Collection[bytes]) -> set[bytes]:
        """Those of these objects that are there. Their session has noted them: they will not go afterwards."""
        if not self._doomed.isdisjoint(ids):
            with self._write_lock:
                pass  # some may be going at this moment
        return {row[0] for row in lookup.rows(self._reader(), "1", ids)}

    def remember(
        self, trees: Mapping[bytes, Mapping[bytes, Entry]], times: Mapping[bytes, Mapping[bytes, Times]]
    ) -> None:
        """What objects that were just written decode to. Nobody may change it afterwards."""
        for object_id, entries in trees.items():
            self._directories.put(object_id, entries)
        for object_id, known in times.items():
            self._times.put(object_id, known)

    def make_room(self, incoming: int) -> None:
        """Raises STORE_FULL when that many more bytes would pass the cap, also after freeing what may go."""
        if not self._passes_cap(incoming):
            return
        self._relieve()
        if self._passes_cap(incoming):
            raise store_full(self.usage().disk_bytes, incoming, self.max_bytes)

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        """Turns the system's errors about a full disk into STORE_FULL, after collecting what may go."""
        try:
            yield
        except OSError as error:
            if disk_is_full(error, self.directory):
                self._relieve()
                raise disk_full() from error
            raise

    def write_rows(self, rows: Sequence[Row]) -> None:
        """Insert rows in one durable transaction (used by Batch). Raises STORE_FULL; then none is there."""
        self.make_room(sum(stored_bytes(row) for row in rows))
        try:
            self._insert(rows)
        except InterlockError as error:
            if error.reason is not Reason.STORE_FULL:
                raise
            self._relieve()
            self._insert(rows)

    def remove(self, ids: Iterable[bytes]) -> list[Stored]:
        """Delete those of these objects that no session holds, in one transaction. Returns what went.

        Killed at any instant: each object is there or not, and at worst the file of a big one is left without
        its row (`strays`).
        """
        with self._write_lock:
            # The order decides: who notes an object later than this looks for it under the lock.
            self._doomed = frozenset(ids)
            try:
                return self._remove(self.sessions.unused(self._doomed))
            finally:
                self._doomed = frozenset()

    def strays(self, before: float) -> list[Path]:
        """Files of big objects without a row, and unchanged since a time (seconds since 1970)."""
        return [path for object_id, path in self._big.unchanged_since(before) if not self.has(object_id)]

    def remove_strays(self, paths: Sequence[Path]) -> int:
        """Delete such files, unless somebody has come to need them. Returns the bytes freed."""
        by_id = {bytes.fromhex(path.name): path for path in paths}
        freed = 0
        with self._write_lock:
            self._doomed = frozenset(by_id)
            try:
                for object_id in self.sessions.unused(by_id):
                    if not self.has(object_id):
                        freed += by_id[object_id].stat().st_size
                        by_id[object_id].unlink()
            finally:
                self._doomed = frozenset()
        return freed

    def give_up(self, object_id: bytes) -> None:
        """Delete an object whose bytes are not those of its id, so that it can be stored anew. A sound one stays."""
        try:
            for _ in self.chunks(object_id):
                pass
        except InterlockError:
            with self._write_lock:
                self._remove([object_id])

    def shrink(self) -> None:
        """Give the space of deleted objects back to the file system, as far as the file's making allows."""
        with self._write_lock:
            shrink(self._writer)

    def temporary(self, name: str) -> Path:
        """Where a big object is collected before its id is known."""
        return self._big.temporary(name)

    def adopt(self, temporary: Path, object_id: bytes) -> None:
        """Give a finished, fsynced temporary file its name, durably."""
        self._big.adopt(temporary, object_id)

    def _row(self, sql: str, *arguments: bytes) -> tuple[int | bytes, ...] | None:
        row: tuple[int | bytes, ...] | None = self._reader().execute(sql, arguments).fetchone()
        return row

    def _reader(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
        return connection

    def _relieve(self) -> None:
        if self.on_full is not None:
            self.on_full()

    def _passes_cap(self, incoming: int) -> bool:
        return bool(self.max_bytes) and self.usage().disk_bytes + incoming > self.max_bytes

    def _insert(self, rows: Sequence[Row]) -> None:
        with self._write_lock, transaction(self._writer) as db:
            now = int(time.time())
            fresh = rows
            done = db.executemany(
                "INSERT OR IGNORE INTO objects VALUES(?,?,?,?,?)", ((*r, now) for r in rows)
            )
            if done.rowcount != len(rows):
                # Another batch brought some of them meanwhile: count what is new, one by one.
                db.execute("ROLLBACK")
                db.execute("BEGIN IMMEDIATE")
                known = {found[0] for found in lookup.rows(db, "1", (row[0] for row in rows))}
                fresh = [row for row in rows if row[0] not in known]
                db.executemany("INSERT INTO objects VALUES(?,?,?,?,?)", ((*r, now) for r in fresh))
            count(db, len(fresh), sum(r[2] for r in fresh), sum(stored_bytes(r) for r in fresh))

    def _remove(self, ids: Sequence[bytes]) -> list[Stored]:
        gone: list[Stored] = []
        big: list[Path] = []
        content = 0
        with transaction(self._writer) as db:
            failpoints.hit("collect.doomed")
            for object_id in ids:
                row = db.execute(
                    "DELETE FROM objects WHERE id=? RETURNING form, size, length(data), added", (object_id,)
                ).fetchone()
                if row is not None:
                    content += row[1]
                    stored = (row[1] if row[0] == FILE else row[2]) + OVERHEAD
                    gone.append(Stored(object_id, stored, row[3]))
                    if row[0] == FILE:
                        big.append(self._big.path(object_id))
            count(db, -len(gone), -content, -sum(each.stored for each in gone))
        failpoints.hit("collect.deleted")
        for path in big:
            path.unlink(missing_ok=True)
        for each in gone:
            self._directories.drop(each.id)
            self._times.drop(each.id)
        return gone

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self.directory / "objects.db")
        with self._guard:
            self._all.append(connection)
        return connection
