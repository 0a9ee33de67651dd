"""What the bot has to remember, in one SQLite file: which message is about what, and how far it has read.

Every call is one durable transaction. A message is noted before it is sent, without its id: after a crash in between it
is sent again under the same transaction id, which the homeserver answers with the message that it already has.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from interlock.common.errors import InterlockError, Reason

KEPT_CLOSED = 10_000
"""How many messages about decided approvals are remembered, so that answers to them can be explained."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS position (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS message (
  number INTEGER PRIMARY KEY, approval_id TEXT NOT NULL, room_id TEXT NOT NULL, run_id TEXT NOT NULL,
  step INTEGER NOT NULL, digest TEXT NOT NULL, event_id TEXT UNIQUE, shown TEXT NOT NULL, open INTEGER NOT NULL,
  UNIQUE (approval_id, room_id)
) STRICT;
CREATE INDEX IF NOT EXISTS message_open ON message (number) WHERE open = 1;
"""


@dataclass(frozen=True, slots=True)
class Message:
    """A message about an approval.

    event_id: empty while it is not known to have been sent. digest: what it showed.
    shown: what its latest version says of the approval, see `render.version`; empty until it is whole in the
    room. open: whether it still asks.
    """

    approval_id: str
    room_id: str
    run_id: str
    step: int
    digest: str
    event_id: str = ""
    shown: str = ""
    open: bool = True


class State:
    """The open file. One process at a time."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.executescript(_SCHEMA)

    def position(self, name: str) -> str:
        """A position that was kept; empty when none was."""
        row = self._database.execute("SELECT value FROM position WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def keep_position(self, name: str, value: str) -> None:
        """Go on from here after a restart."""
        with self._database as database:
            database.execute(
                "INSERT INTO position VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )

    def add(self, message: Message) -> None:
        """Note a message that is about to be sent; nothing when it is known."""
        with self._database as database:
            database.execute(
                "INSERT INTO message (approval_id, room_id, run_id, step, digest, shown, open)"
                " VALUES (?, ?, ?, ?, ?, ?, 1) ON CONFLICT DO NOTHING",
                (
                    message.approval_id,
                    message.room_id,
                    message.run_id,
                    message.step,
                    message.digest,
                    message.shown,
                ),
            )

    def sent(self, message: Message, event_id: str) -> None:
        """The message is in the room, under this id."""
        self._set(message, "event_id = ?", event_id)

    def now_shows(self, message: Message, version: str, *, is_open: bool) -> None:
        """Its latest version says this; one that is not open does not ask any more."""
        self._set(message, "shown = ?, open = ?", version, int(is_open))
        if not is_open:
            self._forget()

    def about(self, approval_id: str) -> list[Message]:
        """The messages about an approval, one a room."""
        return self._select("approval_id = ?", approval_id)

    def by_event(self, room_id: str, event_id: str) -> Message | None:
        """The message with this id, in this room."""
        return next(iter(self._select("event_id = ? AND room_id = ?", event_id, room_id)), None)

    def open_ones(self) -> list[Message]:
        """Messages that ask, or may never have been sent, oldest first."""
        return self._select("open = 1")

    def _select(self, where: str, *values: object) -> list[Message]:
        columns = "approval_id, room_id, run_id, step, digest, coalesce(event_id, ''), shown, open"
        query = f"SELECT {columns} FROM message WHERE {where} ORDER BY number"  # noqa: S608 (constants)
        return [Message(*(*row[:7], bool(row[7]))) for row in self._database.execute(query, values)]

    def _set(self, message: Message, what: str, *values: object) -> None:
        query = f"UPDATE message SET {what} WHERE approval_id = ? AND room_id = ?"  # noqa: S608 (constants)
        with self._database as database:
            database.execute(query, (*values, message.approval_id, message.room_id))

    def _forget(self) -> None:
        with self._database as database:
            database.execute(
                "DELETE FROM message WHERE open = 0 AND number <= (SELECT max(number) FROM message) - ?",
                (KEPT_CLOSED,),
            )


@contextmanager
def opened(file: Path, account: str) -> Iterator[State]:
    """The state of one account, made when there is none; closed at the end.

    Raises INVALID_ARGUMENT when it cannot be written, another bot has it open, or it is another account's.
    """
    with _alone(file):
        try:
            database = sqlite3.connect(file, isolation_level="DEFERRED")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            state = State(database)
        except sqlite3.Error as error:
            raise _unusable(
                file, f"is not the bot's state: {error}", "Name another file, or remove it."
            ) from None
        try:
            if state.position("account") not in ("", account):
                raise _unusable(
                    file, f"belongs to {state.position('account')}", "Give each account its own file."
                )
            state.keep_position("account", account)
            yield state
        finally:
            database.close()


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise _unusable(
            file, f"cannot be written: {error.strerror}", "Name a place that this user can write."
        ) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise _unusable(
            file, "is in use by another bot", "Stop that one, or give this one its own file."
        ) from None
    finally:
        os.close(fd)


def _unusable(file: Path, what: str, fix: str) -> InterlockError:
    return InterlockError(Reason.INVALID_ARGUMENT, f"{file} {what}.", field="state", fix=fix)
