"""Every test here is run for every backend that works on this machine; where one does not, it says why."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.arena import Arena, make_arena, open_directory

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.oci import RUNTIMES
from interlock.executor.sandbox.selection import BACKENDS
from interlock.executor.sandbox.selftest import require

KINDS = [*(name for name in BACKENDS if name != "oci"), *(f"oci:{runtime}" for runtime in RUNTIMES)]


@pytest.fixture(scope="session")
def reasons() -> dict[str, str]:
    """Why a backend cannot be used here; empty for one that can. Filled when it is first asked for."""
    return {}


LACKING = ("cgroups in hybrid mode not supported",)
"""What a self-test says on machines where a backend cannot work. Anything else it says is a defect."""


def _reason(backend: str) -> str:
    with open_directory("interlock-contract-") as path:
        try:
            sandbox = make_arena(path, backend).sandbox
        except InterlockError as error:
            # The kernel is too old for it, or its program is not installed.
            if error.reason is Reason.SANDBOX_UNAVAILABLE:
                return error.message
            raise
        try:
            require(asyncio.run(sandbox.probe(path)))
        except InterlockError as error:
            if any(text in error.message for text in LACKING):
                return error.message
            raise
        return ""


def skip_unless_usable(backend: str, reasons: dict[str, str]) -> None:
    if backend not in reasons:
        reasons[backend] = "its first test said why it does not work"
        reasons[backend] = _reason(backend)
    if reasons[backend]:
        pytest.skip(f"{backend}: {reasons[backend]}")


@pytest.fixture(params=KINDS)
def backend(request: pytest.FixtureRequest, reasons: dict[str, str]) -> str:
    """The name of a backend that works here."""
    skip_unless_usable(request.param, reasons)
    return str(request.param)


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A fresh directory that every user can traverse."""
    with open_directory("interlock-contract-") as path:
        yield path


@pytest.fixture
def arena(backend: str, open_dir: Path) -> Arena:
    return make_arena(open_dir, backend)


@pytest.fixture(params=["cgroup", "watchdog"])
def limited(request: pytest.FixtureRequest, backend: str, open_dir: Path) -> Arena:
    """The same with each way of enforcing limits that this machine has."""
    arena = make_arena(open_dir, backend, use_cgroups=request.param == "cgroup")
    if request.param == "cgroup" and not arena.sandbox.tier.enforcement.startswith("cgroup"):
        pytest.skip("no control group can be made here")
    return arena
