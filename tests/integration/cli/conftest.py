"""Supervisors of stand-in services, on a directory and database of the test's own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.command_line import SECONDS, Installation

from interlock.cli.supervisor.supervisor import Supervisor
from interlock.client.endpoints import SERVICES

STANDIN = Path(__file__).with_name("standin.py")


def alive(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait for a condition to become true; its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        await asyncio.sleep(0.02)
    raise AssertionError("the condition did not become true in time")


class Supervised:
    """A supervisor whose services are stand-ins; `modes` says how each behaves."""

    def __init__(self, directory: Path, database_url: str) -> None:
        self.directory = directory
        self.modes: dict[str, str] = {}
        self.said: list[str] = []
        self.env = {
            **os.environ,
            "INTERLOCK_DATA_DIR": str(directory),
            "INTERLOCK_DATABASE_URL": database_url,
        }

    def make(self) -> Supervisor:
        return Supervisor(self.env, port_base=0, report=self.said.append, command=self.command)

    def command(self, service: str) -> list[str]:
        return [sys.executable, "-P", str(STANDIN), service, self.modes.get(service, "serve")]


@pytest.fixture
async def supervised(tmp_path: Path, database_url: str) -> AsyncIterator[Supervised]:
    made = Supervised(tmp_path / "data", database_url)
    yield made
    assert [
        line for line in map(_command, psutil.Process().children(recursive=True)) if str(STANDIN) in line
    ] == []


def _command(process: psutil.Process) -> list[str]:
    """Its command line; empty when it has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture(name="until")
def fixture_until() -> Callable[..., Any]:
    return until


@pytest.fixture(name="alive")
def fixture_alive() -> Callable[[int], bool]:
    return alive


@pytest.fixture(scope="session")
def make() -> Iterator[Callable[[], Installation]]:
    """Makes installations in directories that the steps' user can enter; nothing of them may be left running."""
    made: list[Installation] = []

    def installation() -> Installation:
        home = Path(tempfile.mkdtemp(prefix="interlock-cli-"))
        home.chmod(0o755)
        made.append(Installation(home))
        return made[-1]

    yield installation
    for each in made:
        left = [" ".join(process.cmdline()) for process in each.processes()]
        shutil.rmtree(each.home, ignore_errors=True)
        assert left == []


@pytest.fixture(scope="session")
def interlock(make: Callable[[], Installation]) -> Iterator[Installation]:
    """An installation whose services run."""
    installation = make()
    with installation.start("up", "--port-base", "0", "-o", "jsonl") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        services = json.loads(line)["services"]
        assert [each["service"] for each in services] == [*SERVICES]
        assert all(each["serving"] for each in services)
        yield installation
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == 0
        assert "nothing is left running" in errors


@pytest.fixture
def project(interlock: Installation) -> Path:
    directory = Path(tempfile.mkdtemp(prefix="project-", dir=interlock.home))
    directory.chmod(0o755)
    (directory / "a.py").write_text("print('a')\n")
    return directory
