"""`interlock matrix-bot`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.settings import Settings

app = group("Ask in Matrix rooms; take reactions and replies as decisions.")


@command(app, "matrix-bot")
async def matrix_bot(
    settings: Settings,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Settings, as docs/bots.md describes. Default: INTERLOCK_MATRIX_CONFIG."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Try homeserver, rooms and everybody's token, and end.")
    ] = False,
) -> int:
    """Post what waits for a decision in Matrix rooms, and take reactions and replies as decisions, until stopped.

    Only people whom the settings map to a subject decide, each with a token of their own. Logs go to standard error.
    """
    if check:
        return await _check(settings, config)
    line = [sys.executable, "-m", "interlock.matrix", *([str(config)] if config else [])]
    os.execve(line[0], line, _env(settings))  # noqa: S606 (no shell is wanted)


async def _check(settings: Settings, config: Path | None) -> int:
    from interlock.cli.output import write_json
    from interlock.cli.safe import escape
    from interlock.cli.session import connect
    from interlock.cli.settings import Output
    from interlock.matrix.bot import check
    from interlock.matrix.settings import load

    async with connect(settings) as client:
        found = await check(load(config, settings.env()), client)
    if settings.output is not Output.TABLE:
        write_json({**found._asdict()}, settings.output)
        return int(found.has_problem)
    print(escape(f"{found.account} would post in {', '.join(found.rooms)}, looking as {found.subject}"))
    for user, problem in found.people.items():
        print(escape(f"{user}: {problem or 'may be asked'}"))
    return int(found.has_problem)


def _env(settings: Settings) -> dict[str, str]:
    """The environment of the bot: the services that this command would ask, by name."""
    from interlock.client.endpoints import ASKED, parse_servers

    given = parse_servers(settings.servers)
    named = {f"INTERLOCK_{name.upper()}_ADDRESS": given.get(name) for name in ASKED if given.get(name)}
    return {**settings.env(), **named}
