"""`interlock step`."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.settings import Settings

app = group("Add, look at, retry and skip steps.")

RUN = Annotated[str, typer.Argument(help="Run id, `run-…`, or its beginning.")]
STEP = Annotated[str, typer.Argument(help="Step number.")]


@command(app, "add")
async def add(
    settings: Settings,
    run: RUN,
    plan: Annotated[str, typer.Option("--plan", help="Plan file whose steps to append; - = standard input.")],
) -> None:
    """Append the steps of a plan file to an open run. The file's policy, budget and labels are not used.

    A run that has ended is open again with them if something of it was undone: it goes on with `run resume`.
    """
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.runs import show_open_run
    from interlock.cli.values import read_document
    from interlock.client import parse_plan, step_specs

    specs = step_specs(parse_plan(read_document(plan, "plan")))
    async with connect(settings) as client:
        run = await find_run(client, run)
        show_open_run(settings, (await client.add_steps(run, specs)).run)


@command(app, "list")
async def list_(settings: Settings, run: RUN) -> None:
    """List a run's steps."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.steps import list_steps

    async with connect(settings) as client:
        run = await find_run(client, run)
        list_steps(settings, [step async for step in client.list_steps(run)])


@command(app, "show")
async def show(settings: Settings, run: RUN, step: STEP) -> None:
    """Show one step: its state, effect, diff and outputs."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.steps import show_step
    from interlock.cli.values import parse_step

    number = parse_step(step)
    async with connect(settings) as client:
        run = await find_run(client, run)
        show_step(settings, await client.get_step(run, number))


@command(app, "retry")
async def retry(settings: Settings, run: RUN, step: STEP) -> None:
    """Try a failed, rejected, unknown or undone step again, as a new attempt with new gates."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.runs import show_open_run
    from interlock.cli.values import parse_step

    number = parse_step(step)
    async with connect(settings) as client:
        run = await find_run(client, run)
        show_open_run(settings, await client.retry_step(run, number))


@command(app, "revert")
async def revert(
    settings: Settings,
    run: RUN,
    step: STEP,
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why; journaled.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what it would change, and do nothing.")
    ] = False,
) -> None:
    """Undo one step and keep everything that changed since.

    Where a later step or somebody else changed the same, nothing is changed and the files are named.
    """
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.undone import show_undo
    from interlock.cli.values import parse_step

    number = parse_step(step)
    async with connect(settings) as client:
        run = await find_run(client, run)
        answer = await client.revert_step(run, number, comment, validate_only=dry_run)
        show_undo(settings, answer, only_look=dry_run)


@command(app, "skip")
async def skip(
    settings: Settings, run: RUN, step: STEP, comment: Annotated[str, typer.Option(help="Why.")] = ""
) -> None:
    """Pass over a step that has not taken effect."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.runs import show_run
    from interlock.cli.values import parse_step

    number = parse_step(step)
    async with connect(settings) as client:
        run = await find_run(client, run)
        show_run(settings, await client.skip_step(run, number, comment))
