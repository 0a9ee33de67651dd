"""Whether a run outlives the command that follows it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from interlock.cli.runs import _timed_out
from interlock.cli.session import stops_with_commands
from interlock.cli.settings import Settings
from interlock.client.endpoints import LOCK_FILE, SERVICES, Endpoints, write_running

RUNNING = Endpoints("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4")


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SERVICES:
        monkeypatch.delenv(f"INTERLOCK_{name.upper()}_ADDRESS", raising=False)


@pytest.mark.parametrize("temporary", [True, False])
def test_it_stops_with_services_that_were_started_for_a_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], temporary: bool
) -> None:
    settings = Settings(data_dir=str(tmp_path))
    assert not stops_with_commands(settings), "nothing runs on the data directory"
    write_running(tmp_path, RUNNING, os.getpid(), temporary=temporary)
    with open(tmp_path / LOCK_FILE, "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert stops_with_commands(settings) is temporary
        assert not stops_with_commands(Settings(data_dir=str(tmp_path), servers=("127.0.0.1:9",)))
        assert _timed_out(settings, "run-1") == 124
    said = capsys.readouterr().err
    assert ("run-1 stops here with the services" in said) is temporary
    assert ("the next interlock command, or `interlock up`, goes on with it" in said) is temporary
    assert ("run-1 goes on." in said) is not temporary
