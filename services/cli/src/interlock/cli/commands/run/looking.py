"""`interlock run`: what is known of runs."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.command import command
from interlock.cli.commands.run.group import app, one_run
from interlock.cli.commands.run.options import LABEL, RUN
from interlock.cli.names import RUN_STATES, one_of
from interlock.cli.settings import Settings


@command(app, "get")
async def get(settings: Settings, run: RUN) -> None:
    """Show a run with its steps."""
    from interlock.cli.show.runs import show_run

    async with one_run(settings, run) as (client, run_id):
        show_run(settings, await client.get_run(run_id))


@command(app, "list")
async def list_(
    settings: Settings,
    state: Annotated[
        list[str] | None,
        typer.Option(metavar=one_of(RUN_STATES), help="Only runs in this state; repeatable."),
    ] = None,
    workspace: Annotated[
        str, typer.Option("--workspace", "-w", help="Only this workspace: id or directory.")
    ] = "",
    label: LABEL = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 50,
) -> None:
    """List runs, newest first."""
    from interlock.cli.session import connect
    from interlock.cli.show.runs import list_runs
    from interlock.cli.values import parse_enum, parse_labels, workspace_id
    from interlock.v1.run_pb2 import RunState

    states = [parse_enum(RunState, each, "state") for each in state or ()]
    labels = parse_labels(label)
    async with connect(settings) as client:
        only = await workspace_id(client, workspace)
        found = await client.list_runs(states=states, workspace_id=only, labels=labels, limit=limit)
        list_runs(settings, found)


@command(app, "explain")
async def explain(settings: Settings, run: RUN) -> None:
    """Say what a run waits for, since when, and what can be done about it."""
    from interlock.cli.show.explain import show_explanation

    async with one_run(settings, run) as (client, run_id):
        show_explanation(settings, await client.explain_run(run_id))


@command(app, "cost")
async def cost(settings: Settings, run: RUN) -> None:
    """Show what a run cost, in all and per step."""
    from interlock.cli.show.runs import show_cost

    async with one_run(settings, run) as (client, run_id):
        show_cost(settings, await client.get_cost(run_id))
