"""`interlock plan`."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.settings import Output, Settings

app = group("Create and check plan files.")


@command(app, "validate")
def validate(
    settings: Settings, file: Annotated[str, typer.Argument(help="Plan file; - = standard input.")]
) -> int:
    """Check a plan file without any service; exit 2 and every problem when it is not valid.

    What passes here is not refused by `run exec` for what is in it.
    """
    import sys

    from interlock.cli.output import write_json
    from interlock.cli.plans import check_for_run
    from interlock.cli.safe import escape
    from interlock.cli.text import counted
    from interlock.cli.values import read_document

    plan, problems = check_for_run(read_document(file, "file"))
    if settings.output is not Output.TABLE:
        listed = [
            {"reason": p.reason.value, "field": p.field, "message": p.message, "fix": p.fix, "line": p.line}
            for p in problems
        ]
        write_json({"valid": plan is not None, "problems": listed}, settings.output)
    elif plan is not None:
        print(f"Valid: {counted(len(plan.steps), 'step')}.")
    else:
        for problem in problems:
            fix = f". {problem.fix}" if problem.fix else ""
            print(escape(f"{problem.text()}{fix} [{problem.reason.value}]"), file=sys.stderr)
    return 0 if plan is not None else 2


@command(app, "create")
async def create(
    settings: Settings,
    goal: Annotated[str, typer.Option(help="What is to be reached.")],
    workspace: Annotated[
        str, typer.Option(help="Workspace or directory whose files the model sees: all names, some contents.")
    ] = "",
    context: Annotated[str, typer.Option(help="Anything else the model should know.")] = "",
    max_steps: Annotated[int, typer.Option(min=0, max=1000, help="Most steps; 0 = 20.")] = 0,
    out: Annotated[
        str,
        typer.Option(
            "--out", metavar="FILE", help="Write the plan file here, and print a table of its steps."
        ),
    ] = "",
) -> None:
    """Ask the model for a plan and print it as a plan file. Nothing is made and nothing is executed.

    What is printed can be edited and run: `interlock run exec --plan FILE`.
    """
    from interlock.cli.output import message_dict, progress, write_json
    from interlock.cli.plans import write_plan
    from interlock.cli.safe import escape_block
    from interlock.cli.session import connect
    from interlock.cli.show.plans import plan_table
    from interlock.cli.values import workspace_id
    from interlock.client import plan_from_specs
    from interlock.common.plan import dump_yaml

    async with connect(settings) as client:
        known = await workspace_id(client, workspace)
        request = await client.plan_request(goal, known, additional_context=context, max_steps=max_steps)
        notice = (await client.planner_capabilities()).notice
        if notice:
            progress(notice)
        answer = await client.plan(request)
    text = dump_yaml(plan_from_specs(goal, answer.steps))
    if out:
        write_plan(out, text)
    if settings.output is not Output.TABLE:
        write_json({"steps": [message_dict(step) for step in answer.steps]}, settings.output)
    elif out:
        plan_table(answer.steps)
    else:
        print(escape_block(text), end="")
