"""What the crash matrix and the replicas need: services that start in a moment."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.forked import Zygote
from tests.support.forked import zygote as forks


@pytest.fixture
def zygote() -> Zygote:
    """The process that forks services."""
    return forks()


@pytest.fixture
def place() -> Iterator[Path]:
    """Short, for unix sockets, and open to the uid of steps."""
    path = Path(tempfile.mkdtemp(prefix="ilk-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)
