"""Real PostgreSQL for tests: one embedded server for all parallel workers, one fresh database per test.

The server is shared through a directory named after the test run. `INTERLOCK_TEST_DATABASE_URL` (of a role that
may create databases) makes the tests use that server instead.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from interlock.common.postgres import EmbeddedPostgres
from interlock.orchestrator.store import migrate
from interlock.orchestrator.store.engine import Database, database_url
from interlock.orchestrator.store.journal import Journal

_GIVEN = os.environ.get("INTERLOCK_TEST_DATABASE_URL", "")
_TEMPLATE = "interlock_template"
_numbers = itertools.count(1)


def _shared_dir(config: pytest.Config) -> Path:
    """The same for all workers of one test run, and short: it holds a unix socket."""
    run = getattr(config, "workerinput", {}).get("testrunuid") or f"{os.getpid()}"
    return Path(tempfile.gettempdir()) / f"interlock-pg-{hashlib.sha256(run.encode()).hexdigest()[:10]}"


def libpq(url: str) -> str:
    """The URL as psycopg alone wants it."""
    return url.replace("postgresql+psycopg://", "postgresql://")


def sibling(url: str, database: str) -> str:
    """The URL of another database of the same server."""
    return make_url(url).set(database=database).render_as_string(hide_password=False)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a server with a migrated template database."""
    if _GIVEN:
        given = database_url(_GIVEN).render_as_string(hide_password=False)
        with _locked(_shared_dir(request.config).with_suffix(".lock")):
            _make_template(given)
        yield given
        return
    directory = _shared_dir(request.config)
    directory.mkdir(mode=0o711, exist_ok=True)
    # As in production but for the number of connections and fsync, which only a machine that loses its power could
    # tell: dropping a test's database would write the files of all others' to the disk, a second on a busy one.
    with EmbeddedPostgres(directory, {"max_connections": "400", "fsync": "off"}) as server:
        with _locked(directory / "template.lock"):
            _make_template(server.url)
        yield server.url
    alone = not hasattr(request.config, "workerinput")
    if alone:
        shutil.rmtree(directory, ignore_errors=True)


def _make_template(url: str) -> None:
    with psycopg.connect(libpq(url), autocommit=True) as connection:
        known = "SELECT datistemplate FROM pg_database WHERE datname = %s"
        row = connection.execute(known, (_TEMPLATE,)).fetchone()
        if row and row[0]:
            return
        if row:
            connection.execute(f"DROP DATABASE {_TEMPLATE} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {_TEMPLATE}")
        migrate.upgrade(sibling(url, _TEMPLATE))
        connection.execute(f"ALTER DATABASE {_TEMPLATE} IS_TEMPLATE true")


@contextmanager
def _created(server: str, template: str) -> Iterator[str]:
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(libpq(server), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield sibling(server, name)
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def database_url_empty(postgres_server: str) -> Iterator[str]:
    """A database without tables, for this test only."""
    with _created(postgres_server, "template1") as url:
        yield url


@pytest.fixture(name="database_url")
def fixture_database_url(postgres_server: str) -> Iterator[str]:
    """SQLAlchemy URL of a migrated database, for this test only."""
    with _created(postgres_server, _TEMPLATE) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The migrated database behind a pool."""
    opened = Database(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def journal(database: Database) -> AsyncIterator[Journal]:
    """A running flusher on it."""
    started = Journal(database)
    await started.start()
    yield started
    await started.close()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With parallel workers, the last to end has stopped the server; the controller removes its directory."""
    uid = getattr(session.config, "workerinput", None)
    manager = session.config.pluginmanager.get_plugin("dsession")
    if uid is None and manager is not None:
        run = getattr(getattr(manager, "nodemanager", None), "testrunuid", "")
        directory = (
            Path(tempfile.gettempdir()) / f"interlock-pg-{hashlib.sha256(run.encode()).hexdigest()[:10]}"
        )
        shutil.rmtree(directory, ignore_errors=True)
