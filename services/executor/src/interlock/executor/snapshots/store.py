"""The content-addressed store: one SQLite file for small objects, one file each for big ones.

An object is bytes; its id is their sha256. Objects are never changed. A batch is durable when its `commit`
returns: SQLite in WAL mode with synchronous=FULL, big files fsynced before the row that names them.
Layout below the store's directory: `objects.db` and `big/<first two hex digits>/<hex>`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from interlock.common.errors import InterlockError, Reason
from interlock.executor.snapshots.cache import Lru
from interlock.executor.snapshots.encoding import Malformed, decode_directory, decode_times
from interlock.executor.snapshots.model import Entry, Times

BIG_BYTES: Final = 1 << 20
"""Objects larger than this are files of their own."""

_RAW, _ZLIB, _FILE = 0, 1, 2
_CHUNK: Final = 1 << 20

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects(
  id BLOB PRIMARY KEY, form INTEGER NOT NULL, size INTEGER NOT NULL, data BLOB NOT NULL
) WITHOUT ROWID;
"""


class StoreSize(NamedTuple):
    """Objects held; their bytes as content (before compression); bytes on disk."""

    objects: int
    content_bytes: int
    disk_bytes: int


class Store:
    """Thread-safe. Readers have a connection per thread; writers go through `batch`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._big = directory / "big"
        self._big.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._directories: Lru[Mapping[bytes, Entry]] = Lru(20_000)
        self._times: Lru[Mapping[bytes, Times]] = Lru(20_000)
        self._write_lock = threading.Lock()
        self._writer = self._connect()
        self._writer.executescript(_SCHEMA)

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

    def get(self, object_id: bytes) -> bytes:
        """All of an object's bytes, checked against its id. Raises TREE_NOT_FOUND; INTERNAL when damaged."""
        return b"".join(self.chunks(object_id))

    def chunks(self, object_id: bytes) -> Iterator[bytes]:
        """The object's bytes in pieces; small objects come as one, already checked.

        A big one is checked at its end: use what was yielded only when the iterator finished.
        """
        row = self._row("SELECT form, data FROM objects WHERE id=?", object_id)
        if row is None:
            raise missing(object_id)
        form, data = row
        if form == _FILE:
            yield from self._big_chunks(object_id)
            return
        plain = _inflate(object_id, data) if form == _ZLIB else bytes(data)
        if hashlib.sha256(plain).digest() != object_id:
            raise _damaged(object_id)
        yield plain

    def big_path(self, object_id: bytes) -> Path | None:
        """The file that holds a big object (to clone from); None for a small one. Raises TREE_NOT_FOUND."""
        return self._file(object_id) if self.size(object_id) > BIG_BYTES else None

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
        """A times object decoded; empty for `b""` and where it is not known. Shared: never change it."""
        if not times:
            return {}
        found = self._times.get(times)
        if found is None:
            try:
                found = decode_times(self.get(times)) if self.has(times) else {}
            except Malformed:
                found = {}
            self._times.put(times, found)
        return found

    def batch(self) -> Batch:
        """A new set of objects to write, kept in memory up to a few MiB at a time."""
        return Batch(self)

    def usage(self) -> StoreSize:
        """What the store holds."""
        row = self._row("SELECT count(*), coalesce(sum(size),0), coalesce(sum(length(data)),0) FROM objects")
        assert row is not None
        big = self._row("SELECT coalesce(sum(size),0) FROM objects WHERE form=2")
        assert big is not None
        return StoreSize(int(row[0]), int(row[1]), int(row[2]) + int(big[0]))

    def write_rows(self, rows: list[tuple[bytes, int, int, bytes]]) -> None:
        """Insert rows in one durable transaction (used by Batch)."""
        with self._write_lock, self._writer:
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.executemany("INSERT OR IGNORE INTO objects VALUES(?,?,?,?)", rows)

    def temporary(self, name: str) -> Path:
        """Where a big object is collected before its id is known."""
        return self._big / f".new-{name}"

    def adopt(self, temporary: Path, object_id: bytes) -> None:
        """Give a finished, fsynced temporary file its name, durably."""
        target = self._file(object_id)
        if not target.parent.exists():
            target.parent.mkdir(exist_ok=True, mode=0o700)
            _sync_directory(self._big)
        os.rename(temporary, target)
        _sync_directory(target.parent)

    def _file(self, object_id: bytes) -> Path:
        text = object_id.hex()
        return self._big / text[:2] / text

    def _big_chunks(self, object_id: bytes) -> Iterator[bytes]:
        digest = hashlib.sha256()
        try:
            with open(self._file(object_id), "rb", buffering=0) as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    yield chunk
        except FileNotFoundError:
            raise missing(object_id) from None
        if digest.digest() != object_id:
            raise _damaged(object_id)

    def _row(self, sql: str, *arguments: bytes) -> tuple[int | bytes, ...] | None:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
        row: tuple[int | bytes, ...] | None = connection.execute(sql, arguments).fetchone()
        return row

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self.directory / "objects.db")
        with self._guard:
            self._all.append(connection)
        return connection


class Batch:
    """Objects on their way into the store. One thread at a time; `commit` makes them durable.

    Objects reach the store in order, so a directory object is never durable before what it names.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._pending: dict[bytes, bytes | int] = {}
        self._bytes = 0
        self._serial = 0

    def put(self, data: bytes) -> bytes:
        """Add an object; returns its id. Already present ones cost a look-up."""
        object_id = hashlib.sha256(data).digest()
        if object_id in self._pending or self.store.has(object_id):
            return object_id
        if len(data) > BIG_BYTES:
            return self.put_stream(iter((data,)))
        self._pending[object_id] = data
        self._bytes += len(data)
        if self._bytes > 8 << 20 or len(self._pending) > 8192:
            self.commit()
        return object_id

    def put_stream(self, chunks: Iterator[bytes]) -> bytes:
        """Add an object of any size in one pass; returns its id. Big files are fsynced here."""
        self._serial += 1
        temporary = self.store.temporary(f"{os.getpid()}-{id(self):x}-{self._serial}")
        digest, size = hashlib.sha256(), 0
        try:
            with open(temporary, "xb", buffering=0) as file:
                for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    _write_all(file.fileno(), chunk)
                os.fsync(file.fileno())
            object_id = digest.digest()
            if size <= BIG_BYTES:
                return self.put(temporary.read_bytes())
            if object_id not in self._pending and not self.store.has(object_id):
                self.store.adopt(temporary, object_id)
                self._pending[object_id] = size
        finally:
            temporary.unlink(missing_ok=True)
        return object_id

    def commit(self) -> None:
        """Write what is pending in one transaction; durable on return."""
        if self._pending:
            self.store.write_rows([_row(key, value) for key, value in self._pending.items()])
            self._pending.clear()
            self._bytes = 0


def connect(path: Path) -> sqlite3.Connection:
    """A connection with the durability this service promises: WAL, synchronous=FULL, explicit transactions.

    The file is readable by its owner alone: other users can traverse to it, and it holds contents and outputs.
    """
    _keep_private(path)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=60)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA cache_size=-16384")
    return connection


def _keep_private(path: Path) -> None:
    # SQLite gives a new file 0644, and its WAL the mode of the file. An existing one must not be opened here:
    # closing any descriptor of a file drops the locks that SQLite holds on it in this process.
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.chmod(f"{path}{suffix}", 0o600)


def missing(object_id: bytes) -> InterlockError:
    """TREE_NOT_FOUND for an id that is not in the store."""
    return InterlockError(
        Reason.TREE_NOT_FOUND, f"The snapshot store has no object sha256:{object_id.hex()}.", field="tree"
    )


def _damaged(object_id: bytes) -> InterlockError:
    return InterlockError(
        Reason.INTERNAL,
        f"Object sha256:{object_id.hex()} in the snapshot store is damaged: its bytes do not match its id.",
        fix="Check the disk; restore the executor's store from a backup.",
    )


def _row(object_id: bytes, value: bytes | int) -> tuple[bytes, int, int, bytes]:
    if isinstance(value, int):
        return object_id, _FILE, value, b""
    if len(value) > 64:
        packed = zlib.compress(value, 1)
        if len(packed) < len(value):
            return object_id, _ZLIB, len(value), packed
    return object_id, _RAW, len(value), value


def _inflate(object_id: bytes, data: bytes | int) -> bytes:
    assert isinstance(data, bytes)
    try:
        return zlib.decompress(data)
    except zlib.error:
        raise _damaged(object_id) from None


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
