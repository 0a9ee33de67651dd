"""`interlock run`: new runs, and following one."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.command import command
from interlock.cli.commands.run.group import app
from interlock.cli.commands.run.options import (
    AT_A_TIME,
    GOAL,
    IN_LINE,
    LABEL,
    PLAN,
    REPLAY_FROM,
    RUN,
    STEP_LIMIT,
    TIMEOUT,
    WORKSPACE,
)
from interlock.cli.names import APPROVE, one_of
from interlock.cli.settings import Output, Settings


@command(app, "exec")
async def execute(
    settings: Settings,
    workspace: WORKSPACE,
    plan: PLAN = "",
    goal: GOAL = "",
    approve: Annotated[
        str,
        typer.Option(
            metavar=one_of(APPROVE),
            help="At gates: ask on the terminal, approve all as shown, or none (exit 3).",
        ),
    ] = "ask",
    within: TIMEOUT = "",
    label: LABEL = None,
    wait_for_workspace: IN_LINE = False,
    replay_from: REPLAY_FROM = "",
    steps_at_a_time: AT_A_TIME = 0,
    max_steps: STEP_LIMIT = 0,
) -> int:
    """Execute a plan, or a goal the model plans, and follow it to its end.

    Starts the services for the time of the command when none are running. -o json prints the final run.
    """
    from interlock.cli.runs import Wanted, execute_run

    wanted = Wanted.read(
        workspace,
        plan,
        goal,
        label,
        wait=wait_for_workspace,
        replay_from=replay_from,
        few=steps_at_a_time,
        most=max_steps,
    )
    return await execute_run(settings, wanted, approve, within)


@command(app, "start")
async def start(
    settings: Settings,
    run: Annotated[str, typer.Argument(help="A planned run to start; or give --workspace and a plan.")] = "",
    workspace: Annotated[str, typer.Option("--workspace", "-w", help="As in `run exec`.")] = "",
    plan: PLAN = "",
    goal: GOAL = "",
    label: LABEL = None,
    wait_for_workspace: IN_LINE = False,
    replay_from: REPLAY_FROM = "",
    steps_at_a_time: AT_A_TIME = 0,
    max_steps: STEP_LIMIT = 0,
) -> None:
    """Start a planned run, or create and start one, without following it."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.runs import Wanted, begin
    from interlock.cli.session import connect
    from interlock.cli.show.runs import show_run
    from interlock.cli.values import bad_value

    if bool(run) == bool(workspace):
        raise bad_value(
            "run", "Give either a run id or --workspace.", "For a new run: --workspace and --plan."
        )
    wanted = (
        Wanted.read(
            workspace,
            plan,
            goal,
            label,
            wait=wait_for_workspace,
            replay_from=replay_from,
            few=steps_at_a_time,
            most=max_steps,
        )
        if workspace
        else None
    )
    async with connect(settings) as client:
        if wanted is None:
            show_run(
                settings,
                await client.start_run(await find_run(client, run), wait_for_workspace=wait_for_workspace),
            )
        else:
            show_run(settings, await begin(client, wanted))


@command(app, "watch")
async def watch(
    settings: Settings,
    run: RUN,
    cursor: Annotated[str, typer.Option(help="Go on after this cursor (JSON output shows them).")] = "",
    within: TIMEOUT = "",
    interactive: Annotated[
        bool,
        typer.Option("--interactive", "-i", help="Ask at each gate on the terminal, as `run exec` does."),
    ] = False,
) -> int:
    """Follow a run to its end.

    -o json prints a document for each message of the stream, one after another; -o jsonl each on a line of its own.
    """
    from interlock.cli.runs import print_messages, watch_run
    from interlock.cli.values import bad_value

    if settings.output is Output.TABLE:
        return await watch_run(settings, run, within, interactive=interactive)
    if interactive:
        raise bad_value("interactive", "Nobody can be asked in JSON.", "Leave --interactive or --output out.")
    return await print_messages(settings, run, cursor, within)


@command(app, "wait")
async def wait(settings: Settings, run: RUN, within: TIMEOUT = "") -> int:
    """Wait silently until a run has ended or needs a person; the exit code says how."""
    from interlock.cli.runs import wait_run

    return await wait_run(settings, run, within)
