"""`interlock token`."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.settings import Settings

app = group("Issue and revoke tokens; see which calls were refused.")

SUBJECT = Annotated[str, typer.Option("--subject", help="Only this subject's.")]


@command(app, "create")
async def create(
    settings: Settings,
    subject: Annotated[
        str, typer.Option("--subject", help="Whose it is: ada, ci@example.org. Recorded with decisions.")
    ],
    role: Annotated[
        list[str], typer.Option("--role", help="viewer, operator, approver or admin; repeatable.")
    ],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="KEY=VALUE: only workspaces with this label; repeatable."),
    ] = None,
    expires: Annotated[str, typer.Option("--expires", help="Lifetime: 12h, 30d, 3650d.")] = "90d",
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    owner: Annotated[
        str,
        typer.Option(
            "--owner", metavar="SUBJECT", help="Whose agent it is: they answer for what it asks for."
        ),
    ] = "",
) -> None:
    """Issue a token. Its text goes to standard output, once; it is kept nowhere."""
    from interlock.cli.session import connect
    from interlock.cli.show.access import show_created
    from interlock.cli.values import parse_duration, parse_enum, parse_labels
    from interlock.v1.role_pb2 import Role

    roles = [parse_enum(Role, each, "role", never=("service",)) for each in role]
    labels, lifetime = parse_labels(scope), parse_duration(expires, "expires")
    async with connect(settings) as client:
        made = await client.create_token(
            subject, roles, scope=labels, lifetime=lifetime, note=note, owner=owner
        )
        show_created(settings, made)


@command(app, "list")
async def list_(
    settings: Settings,
    subject: SUBJECT = "",
    everything: Annotated[bool, typer.Option("--all", help="Also expired and revoked ones.")] = False,
) -> None:
    """List issued tokens, newest first."""
    from interlock.cli.session import connect
    from interlock.cli.show.access import list_tokens

    async with connect(settings) as client:
        list_tokens(settings, await client.list_tokens(everything=everything, subject=subject))


@command(app, "revoke")
async def revoke(
    settings: Settings, token_id: Annotated[str, typer.Argument(help="Token id, `tok-…`.")]
) -> None:
    """Make a token useless, within seconds and for ever."""
    from interlock.cli.session import connect
    from interlock.cli.show.access import show_token

    async with connect(settings) as client:
        show_token(settings, await client.revoke_token(token_id))


@command(app, "denials")
async def denials(
    settings: Settings,
    subject: SUBJECT = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most to show.")] = 100,
) -> None:
    """Show which calls of known callers were refused, newest first."""
    from interlock.cli.session import connect
    from interlock.cli.show.access import list_denials

    async with connect(settings) as client:
        list_denials(settings, await client.list_denials(subject=subject, limit=limit))
