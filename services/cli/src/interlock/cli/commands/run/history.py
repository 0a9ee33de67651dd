"""`interlock run`: what was, again: forks, comparisons, replays, undoing."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.command import command
from interlock.cli.commands.run.group import app, one_run
from interlock.cli.commands.run.options import COMMENT, LABEL, MAX_STEPS, RUN
from interlock.cli.settings import Settings


@command(app, "fork")
async def fork(
    settings: Settings,
    run: RUN,
    at_step: Annotated[
        int, typer.Option(min=0, max=MAX_STEPS, help="Begin where this step ended; 0 = before the first.")
    ] = 0,
    workspace_out: Annotated[
        str,
        typer.Option(help="Directory of the new workspace, absent or empty. Default: one of the executor's."),
    ] = "",
    without_plan: Annotated[
        bool, typer.Option("--without-plan", help="Leave the later steps of the plan out.")
    ] = False,
    start: Annotated[bool, typer.Option("--start", help="Start the fork at once.")] = False,
    label: LABEL = None,
) -> None:
    """Make a new run of a run's beginning, on a new workspace with the tree it had led to.

    Steps up to --at-step are inherited with their results; the later ones are pending again, and what was decided
    about any step counts no more. The run itself is not changed, and may be in any state.
    """
    from interlock.cli.show.runs import show_run
    from interlock.cli.values import absolute, parse_labels

    path = absolute(workspace_out)
    labels = parse_labels(label)
    async with one_run(settings, run) as (client, run_id):
        made = await client.fork_run(
            run_id, at_step, workspace_path=path, labels=labels, without_plan=without_plan, start=start
        )
        show_run(settings, made)


@command(app, "compare")
async def compare(
    settings: Settings,
    run_a: Annotated[str, typer.Argument(help="The first run.")],
    run_b: Annotated[str, typer.Argument(help="The second run; a fork of it, or any other.")],
    diff: Annotated[bool, typer.Option("--diff", help="Show how the trees differ line by line.")] = False,
) -> None:
    """Show where two runs part: step by step, in the trees they ended with, and in what they cost."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.show.compare import show_comparison

    async with one_run(settings, run_a) as (client, first):
        second = await find_run(client, run_b)
        show_comparison(settings, await client.compare_runs(first, second), diff=diff)


@command(app, "replay")
async def replay(
    settings: Settings,
    run: RUN,
    all_steps: Annotated[
        bool, typer.Option("--all", help="Go on after the first step that differs, from the recorded tree.")
    ] = False,
    network: Annotated[
        bool,
        typer.Option(
            "--network", help="Carry out commands with network again too: they act outside once more."
        ),
    ] = False,
) -> int:
    """Carry out a run's steps again and compare; exit 1 naming the first that differs, and showing how.

    Each step stands on the tree it stood on, in a workspace of its own; nothing of the run is changed. Models are
    not asked: their recorded replies stand.
    """
    from interlock.cli.show.replay import show_replay

    async with one_run(settings, run) as (client, run_id):
        steps = client.replay_run(run_id, all_steps=all_steps, with_network=network)
        return await show_replay(settings, run_id, steps)


@command(app, "rollback")
async def rollback(
    settings: Settings,
    run: RUN,
    to_step: Annotated[
        int, typer.Option(min=0, max=MAX_STEPS, help="Back to the tree after this step; 0 = before all.")
    ] = 0,
    discard_later_changes: Annotated[
        bool,
        typer.Option("--discard-later-changes", help="Also undo what other people and runs did here since."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what it would change, and do nothing.")
    ] = False,
    comment: COMMENT = "",
) -> None:
    """Put the workspace back to the tree it was at after a step, or before the run.

    What other people and runs changed since stays, in other files and in other lines of the same ones. Where they
    changed the same, nothing is changed and the files are named. `step retry` and `step add` go on from there.
    """
    from interlock.cli.show.undone import show_undo

    async with one_run(settings, run) as (client, run_id):
        answer = await client.rollback_run(
            run_id, to_step, comment, discard_later_changes=discard_later_changes, validate_only=dry_run
        )
        show_undo(settings, answer, only_look=dry_run)
