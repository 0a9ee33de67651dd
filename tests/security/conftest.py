"""The abuse list is run against every backend that works on this machine; where one does not, it says why.

Payloads are real steps of a real executor process (`arena`), run by root and, for bubblewrap, by an ordinary user
too. Where a test needs what no response has, it has a sandbox in this process (`inner`). The payloads name
/workspace and /tmp, which landlock has not: what needs neither is in test_landlock, and that one's whole list in
tests/contract/sandbox.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.contract.sandbox.conftest import KINDS, reasons, skip_unless_usable
from tests.support.arena import Arena, make_arena, open_directory
from tests.support.service_arena import ExecutorStub, Kind, Server, ServiceArena, open_channel, servers

__all__ = ["reasons"]

BACKENDS = [kind for kind in KINDS if kind != "landlock"]
ORDINARY = "bubblewrap of a user"

executors = pytest.fixture(scope="session")(servers)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, reasons: dict[str, str]) -> str:
    """The name of a backend that works here."""
    skip_unless_usable(request.param, reasons)
    return str(request.param)


@pytest.fixture(params=[*BACKENDS, ORDINARY])
def kind(request: pytest.FixtureRequest, reasons: dict[str, str]) -> Kind:
    """An executor that works here."""
    if request.param == ORDINARY:
        if os.geteuid() != 0:
            pytest.skip("every executor here is an ordinary user's")
        skip_unless_usable("bubblewrap", reasons)
        return Kind("bubblewrap", ordinary=True)
    skip_unless_usable(request.param, reasons)
    return Kind(request.param)


@pytest.fixture
def server(kind: Kind, executors: dict[Kind, Server]) -> Server:
    if kind not in executors:
        executors[kind] = Server(kind)
    return executors[kind]


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A fresh directory that every user can traverse."""
    with open_directory("interlock-security-") as path:
        yield path


@pytest.fixture
async def arena(server: Server, open_dir: Path) -> AsyncIterator[ServiceArena]:
    """Steps of a real executor."""
    async with (
        open_channel(server) as opened,
        ServiceArena(server, ExecutorStub(opened), open_dir) as arena,
    ):
        yield arena


@pytest.fixture
def inner(backend: str, open_dir: Path) -> Arena:
    """A sandbox in this process."""
    return make_arena(open_dir, backend)
