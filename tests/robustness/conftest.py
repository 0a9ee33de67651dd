"""Installations whose services are killed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.installation import Installation, running


@pytest.fixture(scope="session")
def crashing() -> Iterator[Installation]:
    """Everything on embedded defaults; its services die often and come back at once."""
    with running() as installation:
        yield installation
