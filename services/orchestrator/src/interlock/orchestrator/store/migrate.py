"""Brings a database to this release's schema, and refuses one that is not. Blocking: run at start, not in a loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.store import revisions
from interlock.orchestrator.store.engine import CONNECT_SECONDS, database_url, is_outage, unavailable

OLDEST_SERVER: Final = 150000
_LOCK = 7401_2026  # any constant: two upgraders at once take turns


def head_revision() -> str:
    """The revision this release needs."""
    return revisions.head()


def current_revision(url: str) -> str | None:
    """The database's revision; None if it has never been upgraded. Raises DATABASE_UNAVAILABLE."""
    with _connect(url) as connection:
        return _current(connection)


def _current(connection: Connection) -> str | None:
    """What Alembic has written down in its table, which is not there before the first upgrade."""
    if connection.exec_driver_sql("SELECT to_regclass('alembic_version')").scalar_one() is None:
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()
    return None if found is None else str(found)


def upgrade(url: str) -> str:
    """Applies all missing revisions in one transaction and returns the revision reached.

    Raises DATABASE_UNAVAILABLE; DATABASE_REVISION_MISMATCH if the database is of a newer release or its server
    older than PostgreSQL 15.
    """
    wanted = head_revision()
    with _connect(url) as connection:
        _check_server(connection)
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        found = _current(connection)
        _refuse_newer(found)
        if found != wanted:
            apply(connection)
        connection.commit()
    return wanted


def apply(connection: Connection, to: str = "head") -> None:
    """Applies the missing revisions up to one, in the connection's transaction."""
    import alembic.command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, to)


def check_revision(url: str) -> None:
    """Raises DATABASE_REVISION_MISMATCH unless the database is at exactly this release's revision."""
    found, wanted = current_revision(url), head_revision()
    if found == wanted:
        return
    _refuse_newer(found)
    raise InterlockError(
        Reason.DATABASE_REVISION_MISMATCH,
        f"The database is {'empty' if found is None else f'at revision {found}'}; this release needs {wanted}.",
        fix="Run `interlock db upgrade`.",
        metadata={"found": found or "", "needed": wanted},
    )


def _refuse_newer(found: str | None) -> None:
    if found is not None and found not in revisions.known():
        raise InterlockError(
            Reason.DATABASE_REVISION_MISMATCH,
            f"The database is at revision {found}, which this release does not know.",
            fix="Use the release that upgraded the database, or a newer one.",
            metadata={"found": found, "needed": head_revision()},
        )


def _check_server(connection: Connection) -> None:
    version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one())
    if version < OLDEST_SERVER:
        raise InterlockError(
            Reason.DATABASE_REVISION_MISMATCH,
            f"The server is PostgreSQL {version // 10000}; 15 or newer is needed.",
            fix="Point INTERLOCK_DATABASE_URL at a newer server.",
        )


@contextmanager
def _connect(url: str) -> Iterator[Connection]:
    engine = create_engine(
        database_url(url), poolclass=NullPool, connect_args={"connect_timeout": CONNECT_SECONDS}
    )
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        if not is_outage(error):
            raise
        raise unavailable(error) from error
    finally:
        engine.dispose()
