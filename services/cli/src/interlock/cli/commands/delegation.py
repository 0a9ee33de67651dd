"""`interlock delegation`."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.settings import Settings

app = group("Let somebody else decide in your place for a time.")


@command(app, "give")
async def give(
    settings: Settings,
    to: Annotated[str, typer.Argument(metavar="SUBJECT", help="Who may decide in your place.")],
    lasts: Annotated[
        str, typer.Option("--for", metavar="DURATION", help="How long: 90m, 8h, 14d; at most 90d.")
    ],
    note: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Let somebody decide in your place. They need the role approver, and say `--for YOU` when they decide."""
    from interlock.cli.session import connect
    from interlock.cli.show.access import show_delegation
    from interlock.cli.values import parse_duration

    lifetime = parse_duration(lasts, "for") or 0.0
    async with connect(settings) as client:
        show_delegation(settings, await client.delegate(to, lifetime, note=note))


@command(app, "list")
async def list_(
    settings: Settings,
    subject: Annotated[str, typer.Option(help="Only those this subject gave or may use.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
) -> None:
    """List delegations, newest first."""
    from interlock.cli.session import connect
    from interlock.cli.show.access import list_delegations

    async with connect(settings) as client:
        list_delegations(settings, await client.list_delegations(everything=everything, subject=subject))


@command(app, "revoke")
async def revoke(
    settings: Settings, delegation_id: Annotated[str, typer.Argument(help="Delegation id, `dlg-…`.")]
) -> None:
    """End a delegation at once."""
    from interlock.cli.session import connect
    from interlock.cli.show.access import show_delegation

    async with connect(settings) as client:
        show_delegation(settings, await client.revoke_delegation(delegation_id))
