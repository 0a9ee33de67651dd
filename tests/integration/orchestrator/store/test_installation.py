from __future__ import annotations

import asyncio

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy import text as sql

from interlock.orchestrator.store import installation, migrate
from interlock.orchestrator.store.engine import Database


def libpq(url: str) -> str:
    """The URL as psycopg alone wants it."""
    return url.replace("+psycopg", "")


async def test_the_first_who_asks_makes_the_secret_and_all_get_it(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(4)]
    try:
        found = await asyncio.gather(*(installation.secret(each) for each in databases for _ in range(5)))
    finally:
        for each in databases:
            await each.close()
    assert len(set(found)) == 1
    assert len(found[0]) == 32
    again = Database(database_url)
    assert await installation.secret(again) == found[0]
    await again.close()


async def test_no_two_installations_have_the_same(database: Database, database_url_empty: str) -> None:
    await asyncio.to_thread(migrate.upgrade, database_url_empty)
    other = Database(database_url_empty)
    assert await installation.secret(database) != await installation.secret(other)
    await other.close()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO installation (id, secret) VALUES (2, decode(repeat('00', 32), 'hex'))",
        "INSERT INTO installation (id, secret) VALUES (1, decode(repeat('00', 31), 'hex'))",
        "INSERT INTO installation (id, secret) VALUES (1, '')",
    ],
)
def test_the_table_keeps_one_whole_secret(statement: str, database_url: str) -> None:
    with (
        psycopg.connect(libpq(database_url)) as connection,
        pytest.raises(psycopg.errors.CheckViolation),
    ):
        connection.execute(statement)


def test_a_database_of_the_first_release_is_upgraded_and_keeps_what_it_has(database_url_empty: str) -> None:
    engine = create_engine(database_url_empty)
    with engine.connect() as connection:
        migrate.apply(connection, "0001")
        connection.execute(
            sql("INSERT INTO journal VALUES ('run-1', 1, 1, 'created', NULL, now(), 'x', 'y')")
        )
        connection.commit()
    engine.dispose()
    assert migrate.current_revision(database_url_empty) == "0001"
    assert migrate.upgrade(database_url_empty) == migrate.head_revision()
    with psycopg.connect(libpq(database_url_empty)) as connection:
        assert connection.execute("SELECT type FROM journal").fetchall() == [("created",)]
        assert connection.execute("SELECT count(*) FROM installation").fetchone() == (0,)
