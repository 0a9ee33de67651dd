from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.store import migrate, revisions
from interlock.orchestrator.store.schema import metadata

_CATALOGUE = {
    "columns": """
        SELECT table_name, column_name, ordinal_position, data_type, collation_name, is_nullable, column_default,
               col_description(format('%I', table_name)::regclass, ordinal_position)
          FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 3""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
         WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2""",
    "functions": """
        SELECT proname, pg_get_functiondef(oid) FROM pg_proc
         WHERE pronamespace = 'public'::regnamespace ORDER BY 1""",
    "triggers": """
        SELECT tgrelid::regclass::text, tgname, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger
         WHERE NOT tgisinternal ORDER BY 1, 2""",
    "tables": """
        SELECT relname, reloptions, obj_description(oid) FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1""",
    "feed": "SELECT id, position FROM feed",
}


def _libpq(url: str) -> str:
    return url.replace("+psycopg", "")


def _catalogue(url: str) -> dict[str, list[Any]]:
    with psycopg.connect(_libpq(url)) as connection:
        found = {name: connection.execute(query).fetchall() for name, query in _CATALOGUE.items()}
    return {name: [row for row in rows if row[0] != "alembic_version"] for name, rows in found.items()}


@pytest.mark.parametrize("part", _CATALOGUE)
def test_fresh_schema_is_the_migrated_schema(part: str, database_url: str, database_url_empty: str) -> None:
    engine = create_engine(database_url_empty)
    metadata.create_all(engine)
    engine.dispose()
    fresh, migrated = _catalogue(database_url_empty)[part], _catalogue(database_url)[part]
    assert migrated
    assert fresh == migrated


def test_an_empty_database_is_refused_with_the_command_that_helps(database_url_empty: str) -> None:
    with pytest.raises(InterlockError) as caught:
        migrate.check_revision(database_url_empty)
    assert caught.value.reason is Reason.DATABASE_REVISION_MISMATCH
    assert "interlock db upgrade" in caught.value.fix
    assert migrate.current_revision(database_url_empty) is None


def test_the_revisions_are_those_that_alembic_knows() -> None:
    where = Path(migrate.__file__).parent / "migrations"
    script = ScriptDirectory(str(where))
    assert script.get_current_head() == migrate.head_revision() == revisions.head()
    assert {each.revision: each.down_revision or "" for each in script.walk_revisions()} == revisions.known()


def test_a_database_that_is_up_to_date_is_not_migrated(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(connection: Connection) -> None:
        pytest.fail("Alembic was asked")

    monkeypatch.setattr(migrate, "apply", refuse)
    assert migrate.upgrade(database_url) == revisions.head()


def test_upgrade_reaches_the_head_and_can_be_repeated(database_url_empty: str) -> None:
    assert migrate.upgrade(database_url_empty) == migrate.head_revision()
    assert migrate.upgrade(database_url_empty) == migrate.current_revision(database_url_empty)
    migrate.check_revision(database_url_empty)


def test_upgraders_at_once_take_turns(database_url_empty: str) -> None:
    reached: list[str] = []
    threads = [
        threading.Thread(target=lambda: reached.append(migrate.upgrade(database_url_empty))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reached == [migrate.head_revision()] * 4


def test_a_database_of_a_newer_release_is_refused_and_left_alone(database_url: str) -> None:
    with psycopg.connect(_libpq(database_url)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for use in (migrate.check_revision, migrate.upgrade):
        with pytest.raises(InterlockError, match="9999") as caught:
            use(database_url)
        assert caught.value.reason is Reason.DATABASE_REVISION_MISMATCH
    assert migrate.current_revision(database_url) == "9999"


def test_an_unreachable_database_is_said_so_without_its_password() -> None:
    with pytest.raises(InterlockError) as caught:
        migrate.check_revision("postgresql://someone:geheim@127.0.0.1:1/nothing")
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
    assert "geheim" not in f"{caught.value!r} {caught.value.metadata} {caught.value.fix}"


@pytest.mark.parametrize(
    "statement",
    ["UPDATE journal SET type = 'x'", "DELETE FROM journal", "TRUNCATE journal", "TRUNCATE journal CASCADE"],
)
@pytest.mark.parametrize("role", ["origin", "replica"])
def test_the_database_refuses_to_change_history(statement: str, role: str, database_url: str) -> None:
    insert = "INSERT INTO journal VALUES ('run-1', 1, 1, 'created', NULL, now(), 'x', 'y')"
    with psycopg.connect(_libpq(database_url), autocommit=True) as connection:
        connection.execute(insert)
        connection.execute(f"SET session_replication_role = {role}")
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
            connection.execute(statement)
        assert connection.execute("SELECT type FROM journal").fetchall() == [("created",)]
