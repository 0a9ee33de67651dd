"""Installations that the tests of a worker share: each is `interlock up` as real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.installation import Installation, running


@pytest.fixture(scope="session")
def up() -> Iterator[Installation]:
    """Everything on embedded defaults, with the real local model."""
    with running() as installation:
        yield installation
