"""Supervisors of stand-in services, on a directory and database of the test's own."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from interlock.cli.supervisor.supervisor import Supervisor

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
