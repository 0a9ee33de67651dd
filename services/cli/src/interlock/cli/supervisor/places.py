"""Where everything is kept, in one line for people."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.common.config import data_dir, env_text, executor_dir
from interlock.common.postgres import postgres_dir


def places(env: Mapping[str, str]) -> str:
    """`Data in /home/ann/.local/share/interlock.`, and what of it is elsewhere: as root, or where variables say so."""
    from interlock.cli.supervisor.database import environment

    directory = data_dir(env)
    with environment(env):
        kept = {"the database": postgres_dir(), "trees and effects": executor_dir()}
    if env_text("INTERLOCK_DATABASE_URL", env=env):
        del kept["the database"]
    away = [f"{name} in {path}" for name, path in kept.items() if not path.is_relative_to(directory)]
    return f"Data in {directory}{'; ' if away else ''}{', '.join(away)}."
