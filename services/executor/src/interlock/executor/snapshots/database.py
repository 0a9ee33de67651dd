"""SQLite as this service uses it: durable, private, and with one answer to a full disk."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from interlock.common.errors import InterlockError, Reason

_NO_ROOM: Final = 1 << 20
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def connect(path: Path) -> sqlite3.Connection:
    """A connection with the durability this service promises: WAL, synchronous=FULL, explicit transactions.

    The file is readable by its owner alone: other users can traverse to it, and it holds contents and outputs.
    A new file gives space back when rows go (`auto_vacuum=INCREMENTAL`); one made by an earlier release reuses it.
    """
    new = _keep_private(path)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=60)
    if new:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    # Some builds overwrite what is deleted, and log that: deleting would need the space that it is to free.
    connection.execute("PRAGMA secure_delete=FAST").fetchall()
    connection.execute("PRAGMA cache_size=-16384")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One durable transaction: committed when the block ends, nothing of it kept when it fails.

    The caller keeps other threads away from the connection. Raises STORE_FULL when the disk is.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    except BaseException as error:
        # SQLite has rolled back by itself after some errors; a failed COMMIT leaves the transaction open.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error) and disk_is_full(error, _directory(connection)):
            raise disk_full() from error
        raise


def disk_is_full(error: BaseException, directory: Path) -> bool:
    """Whether an error of the system or of SQLite says that there is no space (or quota) left."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        # A write-ahead log that cannot grow is reported as an I/O error of no particular kind.
        return code == sqlite3.SQLITE_FULL or (
            code == sqlite3.SQLITE_IOERR and free_bytes(directory) < _NO_ROOM
        )
    return isinstance(error, OSError) and error.errno in _FULL


def free_bytes(directory: Path) -> int:
    """Bytes of the file system that an ordinary user may still use."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def half_of_disk(directory: Path) -> int:
    """Half the size of the file system that a directory is on, in bytes."""
    found = os.statvfs(directory)
    return found.f_blocks * found.f_frsize // 2


def disk_full(so: str = "Nothing was changed.") -> InterlockError:
    """STORE_FULL for a disk without space; `so` says what became of the call."""
    return InterlockError(
        Reason.STORE_FULL,
        f"The disk of the executor's directory, or of the workspace's, is full. {so}",
        fix="Free disk space, or let `interlock workspace gc` free some; then try the step again.",
        metadata={"limit": "disk"},
    )


def columns(connection: sqlite3.Connection, table: str) -> set[str]:
    """The names of a table's columns."""
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def shrink(connection: sqlite3.Connection, pages: int = 0) -> None:
    """Give free pages back to the file system (0 = all). Does nothing for files of earlier releases."""
    connection.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def sync_directory(path: Path) -> None:
    """The names in a directory are on the disk on return."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _directory(connection: sqlite3.Connection) -> Path:
    return Path(connection.execute("PRAGMA database_list").fetchone()[2] or ".").parent


def _keep_private(path: Path) -> bool:
    """Whether the file is new."""
    # SQLite gives a new file 0644, and its WAL the mode of the file. An existing one must not be opened here:
    # closing any descriptor of a file drops the locks that SQLite holds on it in this process.
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.chmod(f"{path}{suffix}", 0o600)
        return False
    return True
