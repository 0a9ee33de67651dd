"""`interlock cost`."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.settings import Settings

app = group("What model calls cost across runs.")


@command(app, "report")
async def report(
    settings: Settings,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="day, workspace, caller, model, purpose; repeatable. Default: day."),
    ] = None,
    since: Annotated[str, typer.Option(help="First day, 2026-11-22. Default: 30 days ago.")] = "",
    until: Annotated[str, typer.Option(help="Last day. Default: today (UTC).")] = "",
) -> None:
    """Show what questions to models cost, in groups. A price that nobody reported is unknown, not zero."""
    from interlock.cli.budgets import cost_report
    from interlock.cli.session import connect

    async with connect(settings) as client:
        await cost_report(settings, client, by or ["day"], since, until)
