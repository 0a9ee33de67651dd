"""`interlock budget`."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.settings import Settings

app = group("Set and list what model calls may cost.")

RUN = Annotated[str, typer.Option("--run", help="Of this run.")]
WORKSPACE = Annotated[
    str, typer.Option("--workspace", help="Of all runs on this workspace; * = each other one.")
]
CALLER = Annotated[
    str,
    typer.Option(
        "--caller", help="Of all runs that this caller creates on one day (UTC); * = each other one."
    ),
]
AMOUNT = Annotated[str, typer.Argument(help="US dollars, such as 2.50.")]


@command(app, "set")
async def set_(
    settings: Settings,
    amount: AMOUNT,
    run: RUN = "",
    workspace: WORKSPACE = "",
    caller: CALLER = "",
    calls: Annotated[
        int, typer.Option("--calls", min=0, help="Most model calls; a run's only. 0 = no limit.")
    ] = 0,
    unpriced_call: Annotated[
        str,
        typer.Option(help="What a call of a model without a known price counts as. Default: none is made."),
    ] = "0",
) -> None:
    """Set a budget, higher or lower. Runs that hold because of it go on where it allows it.

    A run's is set by operators, the others by admins. A run's amount of 0 is no limit; the others' is nothing at all.
    """
    from interlock.cli.budgets import set_budget
    from interlock.cli.session import connect

    async with connect(settings) as client:
        await set_budget(settings, client, (run, workspace, caller), amount, calls, unpriced_call)


@command(app, "remove")
async def remove(settings: Settings, workspace: WORKSPACE = "", caller: CALLER = "") -> None:
    """Remove a budget of a workspace or caller."""
    from interlock.cli.budgets import remove_budget
    from interlock.cli.session import connect

    async with connect(settings) as client:
        await remove_budget(settings, client, ("", workspace, caller))


@command(app, "list")
async def list_(settings: Settings) -> None:
    """List budgets of workspaces and callers, with what is spent and held back of them."""
    from interlock.cli.budgets import list_budgets
    from interlock.cli.session import connect

    async with connect(settings) as client:
        await list_budgets(settings, client)


@command(app, "show")
async def show(settings: Settings, run: Annotated[str, typer.Argument(help="Run id, `run-…`.")]) -> None:
    """Show a run's budget and what is spent of it."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.budgets import show_budget
    from interlock.cli.session import connect

    async with connect(settings) as client:
        show_budget(settings, await client.get_run(await find_run(client, run), without_steps=True))
