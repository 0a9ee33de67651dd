"""`interlock run`."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.commands import envelope
from interlock.cli.names import APPROVE, RUN_STATES, one_of
from interlock.cli.settings import Output, Settings

app = group("Execute, start, watch and steer runs.")
app.add_typer(envelope.app, name="envelope")

MAX_STEPS = 10_000
"""No run has more, so no step has a higher number."""

RUN = Annotated[str, typer.Argument(help="Run id, `run-…`, or its beginning.")]
COMMENT = Annotated[str, typer.Option("--comment", "-m", help="Why; journaled.")]
TIMEOUT = Annotated[
    str, typer.Option("--timeout", help="Stop waiting after this long (90, 90s, 5m); the run goes on.")
]
PLAN = Annotated[str, typer.Option("--plan", help="Plan file, YAML or JSON; - = standard input.")]
GOAL = Annotated[str, typer.Option("--goal", help="Let the model plan towards this goal.")]
LABEL = Annotated[list[str] | None, typer.Option("--label", help="KEY=VALUE; repeatable.")]
IN_LINE = Annotated[
    bool,
    typer.Option(
        "--wait-for-workspace", help="While another run has the workspace, wait in line instead of failing."
    ),
]
REPLAY_FROM = Annotated[
    str,
    typer.Option(
        "--replay-from",
        metavar="RUN",
        help="Use the model replies recorded for this run; no model is asked, and one that is missing is an error.",
    ),
]
AT_A_TIME = Annotated[
    int,
    typer.Option(
        "--steps-at-a-time",
        min=0,
        max=100,
        help="With --goal: the model decides on N steps at once, from the results so far. 0 = it plans all.",
    ),
]
STEP_LIMIT = Annotated[
    int,
    typer.Option(
        "--max-steps", min=0, max=MAX_STEPS, help="With --steps-at-a-time: pause after so many steps; 0 = 50."
    ),
]
WORKSPACE = Annotated[
    str,
    typer.Option("--workspace", "-w", help="Directory to work on (made a workspace if needed), or `ws-…`."),
]


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


@command(app, "get")
async def get(settings: Settings, run: RUN) -> None:
    """Show a run with its steps."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.runs import show_run

    async with connect(settings) as client:
        run = await find_run(client, run)
        show_run(settings, await client.get_run(run))


@command(app, "explain")
async def explain(settings: Settings, run: RUN) -> None:
    """Say what a run waits for, since when, and what can be done about it."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.explain import show_explanation

    async with connect(settings) as client:
        run = await find_run(client, run)
        show_explanation(settings, await client.explain_run(run))


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


@command(app, "pause")
async def pause(settings: Settings, run: RUN, comment: COMMENT = "") -> None:
    """Hold a run after the step that is under way."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.runs import show_run

    async with connect(settings) as client:
        run = await find_run(client, run)
        show_run(settings, await client.pause_run(run, comment))


@command(app, "resume")
async def resume(settings: Settings, run: RUN) -> None:
    """Let a run go on that is paused, or was set aside."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.runs import show_run

    async with connect(settings) as client:
        run = await find_run(client, run)
        show_run(settings, await client.resume_run(run))


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
    from interlock.cli.beginnings import find_run
    from interlock.cli.output import progress
    from interlock.cli.session import connect
    from interlock.cli.show.plans import show_replanned

    async with connect(settings) as client:
        before = await client.get_run(await find_run(client, run))
        progress(f"Planning … {(await client.planner_capabilities()).notice}".rstrip())
        await client.replan_run(before.run_id, comment, max_steps=max_steps)
        show_replanned(settings, before, await client.get_run(before.run_id))


@command(app, "cancel")
async def cancel(settings: Settings, run: RUN, comment: COMMENT = "") -> None:
    """End a run. What was published stays; `run rollback` undoes it."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.runs import show_run

    async with connect(settings) as client:
        run = await find_run(client, run)
        show_run(settings, await client.cancel_run(run, comment))


@command(app, "cost")
async def cost(settings: Settings, run: RUN) -> None:
    """Show what a run cost, in all and per step."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.runs import show_cost

    async with connect(settings) as client:
        run = await find_run(client, run)
        show_cost(settings, await client.get_cost(run))


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
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.runs import show_run
    from interlock.cli.values import absolute, parse_labels

    path = absolute(workspace_out)
    labels = parse_labels(label)
    async with connect(settings) as client:
        run = await find_run(client, run)
        made = await client.fork_run(
            run, at_step, workspace_path=path, labels=labels, without_plan=without_plan, start=start
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
    from interlock.cli.session import connect
    from interlock.cli.show.compare import show_comparison

    async with connect(settings) as client:
        run_a, run_b = await find_run(client, run_a), await find_run(client, run_b)
        show_comparison(settings, await client.compare_runs(run_a, run_b), diff=diff)


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
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.replay import show_replay

    async with connect(settings) as client:
        found = await find_run(client, run)
        steps = client.replay_run(found, all_steps=all_steps, with_network=network)
        return await show_replay(settings, found, steps)


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
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.undone import show_undo

    async with connect(settings) as client:
        run = await find_run(client, run)
        answer = await client.rollback_run(
            run, to_step, comment, discard_later_changes=discard_later_changes, validate_only=dry_run
        )
        show_undo(settings, answer, only_look=dry_run)
