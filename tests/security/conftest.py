"""The abuse list is run against the default sandbox here, and against every backend in tests/contract/sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.arena import Arena, make_arena, open_directory


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A fresh directory that every user can traverse."""
    with open_directory("interlock-security-") as path:
        yield path


@pytest.fixture
def arena(open_dir: Path) -> Arena:
    return make_arena(open_dir)


@pytest.fixture(params=["cgroup", "watchdog"])
def limited(request: pytest.FixtureRequest, open_dir: Path) -> Arena:
    """The same with each way of enforcing limits that this machine has."""
    arena = make_arena(open_dir, use_cgroups=request.param == "cgroup")
    if request.param == "cgroup" and not arena.sandbox.tier.enforcement.startswith("cgroup"):
        pytest.skip("no control group can be made here")
    return arena
