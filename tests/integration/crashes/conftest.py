"""What the crash matrix and the replicas need: services that start in a moment."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cluster import Zygote


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """The process that forks services."""
    started = Zygote(tmp_path_factory.mktemp("zygote") / "log")
    yield started
    started.close()


@pytest.fixture
def place() -> Iterator[Path]:
    """Short, for unix sockets, and open to the uid of steps."""
    path = Path(tempfile.mkdtemp(prefix="ilk-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)
