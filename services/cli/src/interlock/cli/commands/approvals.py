"""`interlock approvals`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.names import APPROVAL_STATES, ON_REJECT, one_of
from interlock.cli.settings import Output, Settings

if TYPE_CHECKING:
    from interlock.client import Client
    from interlock.v1.decision_pb2 import ApprovalRecord

app = group("See what waits for a decision, and decide.")

APPROVAL = Annotated[
    str, typer.Argument(help="Approval id, `apr-…`, or a run id whose only pending one is meant.")
]
RUN = Annotated[str, typer.Option("--run", help="Only this run.")]
WORKSPACE = Annotated[str, typer.Option("--workspace", help="Only this workspace: id or directory.")]
MINE = Annotated[bool, typer.Option("--mine", help="Only what you may approve.")]
COMMENT = Annotated[str, typer.Option("--comment", "-m", help="Why; shown to everyone and journaled.")]
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
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 100,
) -> None:
    """List approvals, oldest first; those that are pending unless --state says otherwise."""
    from interlock.cli.session import connect
    from interlock.cli.show.approvals import list_approvals
    from interlock.cli.values import parse_enum, workspace_id
    from interlock.v1.approval_pb2 import ApprovalFilter
    from interlock.v1.decision_pb2 import ApprovalState

    states = [parse_enum(ApprovalState, each, "state") for each in state or ()]
    async with connect(settings) as client:
        where = await workspace_id(client, workspace)
        matching = ApprovalFilter(run_id=run, workspace_id=where, for_me=mine)
        found = await client.list_approvals(states=states, matching=matching, limit=limit)
        list_approvals(settings, found)


@command(app, "watch")
async def watch(
    settings: Settings,
    run: RUN = "",
    workspace: WORKSPACE = "",
    mine: MINE = False,
    preview: Annotated[bool, typer.Option("--preview", help="Include each pending one's preview.")] = False,
) -> None:
    """Show what is pending, then every change, until Ctrl-C.

    -o json prints a document for each event, one after another; -o jsonl each on a line of its own.
    """
    from interlock.cli.output import message_dict, use_colour, write_json
    from interlock.cli.safe import escape
    from interlock.cli.session import connect
    from interlock.cli.show.approvals import approval_lines, approval_state, approval_title
    from interlock.cli.values import workspace_id
    from interlock.v1.approval_pb2 import ApprovalFilter
    from interlock.v1.decision_pb2 import ApprovalEventKind

    async with connect(settings) as client:
        chosen = await workspace_id(client, workspace)
        matching = ApprovalFilter(run_id=run, workspace_id=chosen, for_me=mine)
        async for message in client.subscribe_approvals(matching, with_preview=preview):
            if not message.HasField("event"):
                continue
            record = message.event.approval
            if settings.output is not Output.TABLE:
                write_json(message_dict(message.event), settings.output)
                continue
            where = f"{record.approval_id} {record.run_id} step {record.step}"
            applied = message.event.kind == ApprovalEventKind.APPROVAL_EVENT_KIND_APPLIED
            what = "APPLIED" if applied else approval_state(record)
            print(escape(f"{what:<10} {where} {approval_title(record)}"), flush=True)
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
async def approve(settings: Settings, approval: APPROVAL, comment: COMMENT = "", digest: DIGEST = "") -> None:
    """Approve exactly what `show` shows."""
    await _decide(settings, approval, "approve", comment, digest)


@command(app, "reject")
async def reject(
    settings: Settings,
    approval: APPROVAL,
    comment: COMMENT = "",
    digest: DIGEST = "",
    action: Annotated[
        str,
        typer.Option(
            metavar=one_of(ON_REJECT), help="What follows: fail the run, skip the step, or plan anew."
        ),
    ] = "fail",
) -> None:
    """Refuse it."""
    await _decide(settings, approval, "reject", comment, digest, action)


async def _decide(
    settings: Settings, approval_id: str, verdict: str, comment: str, digest: str, action: str = "fail"
) -> None:
    from interlock.cli.session import connect
    from interlock.cli.show.approvals import show_decision

    async with connect(settings) as client:
        record = await _find(client, approval_id)
        if digest:
            record.digest = digest
        decided = await client.decide(record, verdict, comment, on_reject=action, channel="cli")
        show_decision(settings, decided)


async def _find(client: Client, text: str) -> ApprovalRecord:
    """The approval with this id, or the one pending approval of a run."""
    from interlock.common.errors import InterlockError, Reason
    from interlock.v1.approval_pb2 import ApprovalFilter

    if not text.startswith("run-"):
        return await client.get_approval(text)
    pending = await client.list_approvals(matching=ApprovalFilter(run_id=text))
    if len(pending) != 1:
        raise InterlockError(
            Reason.APPROVAL_NOT_FOUND,
            f"{text} has {len(pending)} pending approvals, not one.",
            field="approval",
            fix="`interlock approvals list` shows what is pending.",
        )
    return await client.get_approval(pending[0].approval_id)
