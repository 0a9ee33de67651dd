"""An orchestrator on a real executor, for each test its own, and a directory to work on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.support.stack import Stack, open_place, stack


@pytest.fixture
def place() -> Iterator[Path]:
    with open_place() as path:
        yield path


@pytest.fixture
def live(place: Path) -> Path:
    """The user's directory."""
    directory = place / "live"
    directory.mkdir()
    return directory


@pytest.fixture(name="stack")
async def fixture_stack(place: Path, database_url: str) -> AsyncIterator[Stack]:
    async with stack(place, database_url) as both:
        yield both
