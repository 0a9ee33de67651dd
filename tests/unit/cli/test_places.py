"""Where everything is kept is said, also what is not in the data directory."""

from __future__ import annotations

import os
from pathlib import Path

from interlock.cli.supervisor.places import places


def test_what_is_elsewhere_is_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    here = {
        "INTERLOCK_DATA_DIR": str(data),
        "INTERLOCK_EXECUTOR_DIR": str(data / "executor"),
        "INTERLOCK_POSTGRES_DIR": str(data / "postgres"),
    }
    assert places(here) == f"Data in {data}."
    away = places({**here, "INTERLOCK_EXECUTOR_DIR": "/x/executor"})
    assert away == f"Data in {data}; trees and effects in /x/executor."
    both = places({**here, "INTERLOCK_EXECUTOR_DIR": "/x/e", "INTERLOCK_POSTGRES_DIR": "/x/p"})
    assert both == f"Data in {data}; the database in /x/p, trees and effects in /x/e."
    other = {**here, "INTERLOCK_DATABASE_URL": "postgresql://h/d", "INTERLOCK_POSTGRES_DIR": "/x/p"}
    assert places(other) == f"Data in {data}."


def test_roots_places_are_where_the_user_of_steps_can_go(tmp_path: Path) -> None:
    said = places({"INTERLOCK_DATA_DIR": str(tmp_path)})
    assert said.startswith(f"Data in {tmp_path}")
    assert ("/var/lib/interlock/" in said) == (os.geteuid() == 0)
