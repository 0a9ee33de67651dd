"""What the services import at their start, seen by the list of imports: nothing that only other programs use."""

from __future__ import annotations

import subprocess
import sys

import pytest

UNUSED = ("rich", "alembic", "mako", "opentelemetry.sdk", "opentelemetry.exporter", "pygments")


def imports_of(module: str) -> set[str]:
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "interlock.orchestrator.server",
        "interlock.executor.server",
        "interlock.approval.server",
        "interlock.gateway.server",
        "interlock.common.server",
        "interlock.cli.supervisor.__main__",
    ],
)
def test_nothing_that_is_not_used(module: str) -> None:
    loaded = imports_of(module)
    assert sorted(name for name in loaded if name.startswith(UNUSED)) == []


def test_the_supervisor_needs_neither_grpc_nor_a_database_driver_to_start_processes() -> None:
    loaded = imports_of("interlock.cli.supervisor.__main__")
    assert not {"grpc", "google.protobuf", "sqlalchemy", "psycopg", "yaml", "structlog"} & loaded


def test_rich_is_only_hidden_from_structlog() -> None:
    program = (
        "from interlock.common.lean import structlog; import structlog.dev as dev, rich; "
        "print(dev.rich, rich.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "rich"]
