"""The abuse list is run against every backend that works on this machine; where one does not, it says why.

Its payloads name /workspace and /tmp, which landlock has not: that one's list is in tests/contract/sandbox.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.sandbox.conftest import KINDS, reasons, skip_unless_usable
from tests.support.arena import Arena, make_arena, open_directory

__all__ = ["reasons"]


@pytest.fixture(params=[kind for kind in KINDS if kind != "landlock"])
def backend(request: pytest.FixtureRequest, reasons: dict[str, str]) -> str:
    """The name of a backend that works here."""
    skip_unless_usable(request.param, reasons)
    return str(request.param)


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A fresh directory that every user can traverse."""
    with open_directory("interlock-security-") as path:
        yield path


@pytest.fixture
def arena(backend: str, open_dir: Path) -> Arena:
    return make_arena(open_dir, backend)


@pytest.fixture(params=["cgroup", "watchdog"])
def limited(request: pytest.FixtureRequest, backend: str, open_dir: Path) -> Arena:
    """The same with each way of enforcing limits that this machine has; the contract tests do it for every backend."""
    if request.param == "watchdog" and backend != "bubblewrap":
        pytest.skip("see tests/contract/sandbox/test_limits.py")
    arena = make_arena(open_dir, backend, use_cgroups=request.param == "cgroup")
    if request.param == "cgroup" and not arena.sandbox.tier.enforcement.startswith("cgroup"):
        pytest.skip("no control group can be made here")
    return arena
