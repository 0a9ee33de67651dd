"""`interlock approvals`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.envelopes import EnvelopeCommand, EnvelopePath, EnvelopeSteps, read_bounds
from interlock.cli.names import APPROVAL_STATES, ON_REJECT, one_of
from interlock.cli.settings import Output, Settings

if TYPE_CHECKING:
    from interlock.cli.editing import Change
    from interlock.client import Client
    from interlock.v1.decision_pb2 import ApprovalRecord
    from interlock.v1.envelope_pb2 import EnvelopeBounds

app = group("See what waits for a decision, and decide.")

APPROVAL = Annotated[
    str, typer.Argument(help="Approval id, `apr-…`, or a run id whose only pending one is meant.")
]
RUN = Annotated[str, typer.Option("--run", help="Only this run.")]
WORKSPACE = Annotated[str, typer.Option("--workspace", help="Only this workspace: id or directory.")]
MINE = Annotated[bool, typer.Option("--mine", help="Only what you may approve.")]
LABEL = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="KEY=VALUE", help="Only of runs that were given this label; repeatable."),
]
OF_WORKSPACE = Annotated[
    list[str] | None,
    typer.Option("--workspace-label", metavar="KEY=VALUE", help="Only on workspaces with it; repeatable."),
]
COMMENT = Annotated[str, typer.Option("--comment", "-m", help="Why; shown to everyone and journaled.")]
PLACE_OF = Annotated[
    str,
    typer.Option("--for", metavar="SUBJECT", help="Decide in their place, by a delegation of theirs."),
]
DIGEST = Annotated[
    str, typer.Option(help="Digest that was reviewed; refused if something else is pending by now.")
]


@command(app, "list")
async def list_(
    settings: Settings,
    state: Annotated[
        list[str] | None,
        typer.Option(metavar=one_of(APPROVAL_STATES), help="In this state; repeatable. Default: pending."),
    ] = None,
    run: RUN = "",
    workspace: WORKSPACE = "",
    mine: MINE = False,
    label: LABEL = None,
    workspace_label: OF_WORKSPACE = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 100,
) -> None:
    """List approvals, oldest first; those that are pending unless --state says otherwise."""
    from interlock.cli.session import connect
    from interlock.cli.show.approvals import list_approvals
    from interlock.cli.values import approval_filter, parse_enum
    from interlock.v1.decision_pb2 import ApprovalState

    states = [parse_enum(ApprovalState, each, "state") for each in state or ()]
    async with connect(settings) as client:
        matching = await approval_filter(client, run, workspace, label, workspace_label, mine=mine)
        found = await client.list_approvals(states=states, matching=matching, limit=limit)
        list_approvals(settings, found)


@command(app, "watch")
async def watch(
    settings: Settings,
    run: RUN = "",
    workspace: WORKSPACE = "",
    mine: MINE = False,
    label: LABEL = None,
    workspace_label: OF_WORKSPACE = None,
    preview: Annotated[bool, typer.Option("--preview", help="Include each pending one's preview.")] = False,
    record_heads: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Add the head of each run told of to this file, for `journal verify --heads`.",
        ),
    ] = "",
) -> None:
    """Show what is pending, then every change, until Ctrl-C.

    -o json prints a document for each event, one after another; -o jsonl each on a line of its own.
    """
    from interlock.cli.heads import HeadsFile
    from interlock.cli.output import message_dict, use_colour, write_json
    from interlock.cli.safe import escape
    from interlock.cli.session import connect
    from interlock.cli.show.approvals import approval_lines, approval_state, approval_title, event_note
    from interlock.cli.values import approval_filter
    from interlock.v1.decision_pb2 import ApprovalEventKind

    async with connect(settings) as client, HeadsFile(record_heads) as heads:
        matching = await approval_filter(client, run, workspace, label, workspace_label, mine=mine)
        async for message in client.subscribe_approvals(matching, with_preview=preview):
            if not message.HasField("event"):
                continue
            record = message.event.approval
            heads.note(record.run_id, message.event.run_seq, message.event.run_head)
            if settings.output is not Output.TABLE:
                write_json(message_dict(message.event), settings.output)
                continue
            where = f"{record.approval_id} {record.run_id} step {record.step}"
            applied = message.event.kind == ApprovalEventKind.APPROVAL_EVENT_KIND_APPLIED
            what = "APPLIED" if applied else approval_state(record)
            news = event_note(message.event)
            print(escape(f"{what:<10} {where} {approval_title(record)}{news}"), flush=True)
            if preview and record.HasField("preview"):
                print("\n".join(approval_lines(record, colour=use_colour(), full=False)), flush=True)


@command(app, "show")
async def show(settings: Settings, approval: APPROVAL) -> None:
    """Show one approval with everything there is to review."""
    from interlock.cli.output import use_colour
    from interlock.cli.session import connect
    from interlock.cli.show.approvals import show_approval

    async with connect(settings) as client:
        show_approval(settings, await _find(client, approval), colour=use_colour())


@command(app, "approve")
async def approve(
    settings: Settings,
    approval: APPROVAL,
    comment: COMMENT = "",
    digest: DIGEST = "",
    place_of: PLACE_OF = "",
    envelope_path: EnvelopePath = None,
    envelope_command: EnvelopeCommand = None,
    envelope_steps: EnvelopeSteps = 0,
) -> None:
    """Approve exactly what `show` shows; with --envelope-path, later steps within bounds need not ask."""
    envelope = read_bounds(envelope_path, envelope_command, steps=envelope_steps)
    await _decide(settings, approval, "approve", Said(comment, digest, place_of), envelope=envelope)


@command(app, "reject")
async def reject(
    settings: Settings,
    approval: APPROVAL,
    comment: COMMENT = "",
    digest: DIGEST = "",
    place_of: PLACE_OF = "",
    action: Annotated[
        str,
        typer.Option(
            metavar=one_of(ON_REJECT), help="What follows: fail the run, skip the step, or plan anew."
        ),
    ] = "fail",
) -> None:
    """Refuse it. With `--action replan` the planner gets the comment and replaces the steps that have not run."""
    await _decide(settings, approval, "reject", Said(comment, digest, place_of), action=action)


@command(app, "skip")
async def skip(
    settings: Settings,
    approval: APPROVAL,
    comment: COMMENT = "",
    digest: DIGEST = "",
    place_of: PLACE_OF = "",
) -> None:
    """Pass the step over; the run goes on."""
    await _decide(settings, approval, "skip", Said(comment, digest, place_of))


@command(app, "edit")
async def edit(
    settings: Settings,
    approval: APPROVAL,
    command_line: Annotated[
        str, typer.Option("--command", help="For run_command: the new shell command line.")
    ] = "",
    content: Annotated[
        str, typer.Option(metavar="FILE", help="For edit_file: the new content; - = standard input.")
    ] = "",
    patch: Annotated[
        str, typer.Option(metavar="FILE", help="For edit_file: a unified diff; - = standard input.")
    ] = "",
    step: Annotated[
        str, typer.Option(metavar="FILE", help="The whole step, as in a plan file; - = standard input.")
    ] = "",
    comment: COMMENT = "",
    digest: DIGEST = "",
    place_of: PLACE_OF = "",
) -> None:
    """Replace what the step does. It is previewed anew and asks again, with your name on it."""
    from interlock.cli.editing import Change

    change = Change(command_line, content, patch, step)
    await _decide(settings, approval, "edit", Said(comment, digest, place_of), change=change)


@dataclass(frozen=True)
class Said:
    """What goes along with every decision."""

    comment: str
    digest: str
    place_of: str


async def _decide(
    settings: Settings,
    approval_id: str,
    verdict: str,
    said: Said,
    *,
    action: str = "fail",
    change: Change | None = None,
    envelope: EnvelopeBounds | None = None,
) -> None:
    from interlock.cli.session import connect
    from interlock.cli.show.approvals import show_decision

    async with connect(settings) as client:
        record = await _find(client, approval_id)
        if said.digest:
            record.digest = said.digest
        decided = await client.decide(
            record,
            verdict,
            said.comment,
            on_reject=action,
            edit=change.made(record) if change is not None else None,
            envelope=envelope,
            on_behalf_of=said.place_of,
            channel="cli",
        )
        show_decision(settings, decided)


async def _find(client: Client, text: str) -> ApprovalRecord:
    """The approval with this id, or the one pending approval of a run."""
    from interlock.cli.beginnings import find_run
    from interlock.common.errors import InterlockError, Reason
    from interlock.v1.approval_pb2 import ApprovalFilter

    if not text.startswith("run-"):
        return await client.get_approval(text)
    text = await find_run(client, text)
    pending = await client.list_approvals(matching=ApprovalFilter(run_id=text))
    if len(pending) != 1:
        raise InterlockError(
            Reason.APPROVAL_NOT_FOUND,
            f"{text} has {len(pending)} pending approvals, not one.",
            field="approval",
            fix="`interlock approvals list` shows what is pending.",
        )
    return await client.get_approval(pending[0].approval_id)


@command(app, "ahead")
async def ahead(
    settings: Settings,
    run: Annotated[str, typer.Argument(help="Run id, `run-…`, or its beginning.")],
    step: Annotated[int, typer.Argument(min=1, help="The step's number.")],
    verdict: Annotated[str, typer.Argument(metavar="[approve|reject|skip]", help="What is decided.")],
    digest: Annotated[str, typer.Option(help="The digest that it will ask about: docs/effect-digest.md.")],
    comment: COMMENT = "",
    place_of: PLACE_OF = "",
) -> None:
    """Decide before the step asks: kept for an hour, and given when it asks about exactly that digest."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.approvals import show_ahead
    from interlock.cli.values import bad_value

    if verdict not in ("approve", "reject", "skip"):
        raise bad_value("verdict", f"{verdict[:80]!r} cannot be decided ahead.", "approve, reject or skip.")
    async with connect(settings) as client:
        run_id = await find_run(client, run)
        answer = await client.decide_ahead(
            run_id, step, digest, verdict, comment, on_behalf_of=place_of, channel="cli"
        )
        show_ahead(settings, answer)
