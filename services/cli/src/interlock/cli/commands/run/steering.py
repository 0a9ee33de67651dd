"""`interlock run`: a run that is under way."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.command import command
from interlock.cli.commands.run.group import app, one_run
from interlock.cli.commands.run.options import COMMENT, RUN
from interlock.cli.settings import Settings


@command(app, "pause")
async def pause(settings: Settings, run: RUN, comment: COMMENT = "") -> None:
    """Hold a run after the step that is under way."""
    from interlock.cli.show.runs import show_run

    async with one_run(settings, run) as (client, run_id):
        show_run(settings, await client.pause_run(run_id, comment))


@command(app, "resume")
async def resume(settings: Settings, run: RUN) -> None:
    """Let a run go on that is paused, or was set aside."""
    from interlock.cli.show.runs import show_run

    async with one_run(settings, run) as (client, run_id):
        show_run(settings, await client.resume_run(run_id))


@command(app, "replan")
async def replan(
    settings: Settings,
    run: RUN,
    comment: Annotated[
        str, typer.Option("--comment", "-m", help="What is wrong and wanted instead; told to the model.")
    ] = "",
    max_steps: Annotated[int, typer.Option(min=0, max=1000, help="Most new steps; 0 = 20.")] = 0,
) -> None:
    """Have the steps that have not run planned again, and show how the plan differs. Steps that ended stay.

    A run that had begun is paused then: `run resume` goes on with the new steps. A failed one can go on so, too.
    """
    from interlock.cli.output import progress
    from interlock.cli.show.plans import show_replanned

    async with one_run(settings, run) as (client, run_id):
        before = await client.get_run(run_id)
        progress(f"Planning … {(await client.planner_capabilities()).notice}".rstrip())
        await client.replan_run(run_id, comment, max_steps=max_steps)
        show_replanned(settings, before, await client.get_run(run_id))


@command(app, "cancel")
async def cancel(settings: Settings, run: RUN, comment: COMMENT = "") -> None:
    """End a run. What was published stays; `run rollback` undoes it."""
    from interlock.cli.show.runs import show_run

    async with one_run(settings, run) as (client, run_id):
        show_run(settings, await client.cancel_run(run_id, comment))
