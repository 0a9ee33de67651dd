"""A uid without an entry in the passwd database, as containers give: what cannot work says so, and what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interlock.cli.doctor import checks
from interlock.cli.doctor.finding import Level
from interlock.common.config import data_dir
from interlock.common.errors import InterlockError, Reason
from interlock.common.postgres import EmbeddedPostgres
from interlock.common.postgres.account import Account, initdb_account

NAMELESS = 54_321


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: NAMELESS)
    monkeypatch.setattr(os, "geteuid", lambda: NAMELESS)


@pytest.mark.usefixtures("nameless")
def test_the_embedded_database_says_so_before_it_starts_anything(tmp_path: Path) -> None:
    with pytest.raises(InterlockError) as told:
        EmbeddedPostgres(tmp_path / "pg").start()
    assert told.value.reason is Reason.DATABASE_UNAVAILABLE
    assert f"uid {NAMELESS}" in told.value.message
    assert "INTERLOCK_DATABASE_URL" in told.value.fix
    assert not (tmp_path / "pg").exists()


@pytest.mark.usefixtures("nameless")
def test_doctor_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INTERLOCK_DATABASE_URL", raising=False)
    monkeypatch.setenv("INTERLOCK_DATA_DIR", str(tmp_path))
    found = checks._postgres()
    assert (found.check, found.level) == ("postgres", Level.MISSING)
    assert f"uid {NAMELESS}" in found.detail
    assert "useradd" in found.fix


def test_a_uid_with_a_name_is_the_one() -> None:
    account = Account(os.geteuid(), os.getegid(), drop=False)
    assert initdb_account(account) == account


@pytest.mark.usefixtures("nameless")
def test_no_home_is_said_only_where_it_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOME", "XDG_DATA_HOME", "INTERLOCK_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InterlockError) as told:
        data_dir()
    assert (told.value.reason, told.value.field) == (Reason.INVALID_ARGUMENT, "INTERLOCK_DATA_DIR")
    monkeypatch.setenv("INTERLOCK_DATA_DIR", str(tmp_path))
    assert data_dir() == tmp_path
