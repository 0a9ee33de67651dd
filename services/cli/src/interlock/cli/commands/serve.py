"""`interlock serve SERVICE`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.settings import Settings

app = group("Start one service in the foreground.")


@command(app)
def serve(
    settings: Settings,
    service: Annotated[str, typer.Argument(help="orchestrator, executor, planner, approval or gateway.")],
) -> None:
    """Become one service, configured by INTERLOCK_* variables; logs go to standard error.

    The orchestrator needs INTERLOCK_DATABASE_URL, at the schema of `interlock db upgrade`.
    """
    from interlock.cli.supervisor.services import command_line
    from interlock.client.endpoints import SERVICES
    from interlock.common.errors import InterlockError, Reason

    if service not in SERVICES:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"{service!r} is not a service.",
            field="service",
            fix=f"Name one of {', '.join(SERVICES)}.",
        )
    line = command_line(service)
    os.execve(line[0], line, settings.env())  # noqa: S606 (no shell is wanted)
