"""`interlock run envelope`."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli import envelopes as e
from interlock.cli.command import command, group
from interlock.cli.settings import Settings

app = group("Let later steps of a run that stay within bounds go on without asking.")

RUN = Annotated[str, typer.Argument(help="Run id, `run-…`, or its beginning.")]
COMMENT = Annotated[str, typer.Option("--comment", "-m", help="Why; journaled.")]


@command(app, "add")
async def add(
    settings: Settings,
    run: RUN,
    path: Annotated[list[str], typer.Option("--path", metavar="GLOB", help=e.PATHS)],
    command_words: Annotated[
        list[str] | None, typer.Option("--command", metavar="WORDS", help=e.COMMANDS)
    ] = None,
    steps: Annotated[int, typer.Option(min=0, max=1000, metavar="N", help=e.STEPS)] = 0,
    size: Annotated[int, typer.Option("--bytes", min=0, metavar="N", help=e.BYTES)] = 0,
    dollars: Annotated[float, typer.Option("--cost", min=0, metavar="USD", help=e.COST)] = 0.0,
    lasts: Annotated[str, typer.Option("--for", metavar="DURATION", help=e.LASTS)] = "",
    comment: COMMENT = "",
) -> None:
    """Grant an envelope. What a step did counts, not what it says: the first one outside asks, and says why.

    Only who could approve the steps alone may grant one. Commands with network or secrets, and what a policy denies
    or wants a person to see, are never within any.
    """
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.envelopes import show_envelope

    allowed = e.read_bounds(path, command_words, steps=steps, size=size, dollars=dollars, lasts=lasts)
    assert allowed is not None
    async with connect(settings) as client:
        show_envelope(
            settings,
            await client.grant_envelope(await find_run(client, run), allowed, comment, channel="cli"),
        )


@command(app, "list")
async def list_(settings: Settings, run: RUN) -> None:
    """List the envelopes of a run, also those that were revoked or are used up."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.envelopes import list_envelopes

    async with connect(settings) as client:
        list_envelopes(settings, (await client.get_run(await find_run(client, run))).envelopes)


@command(app, "revoke")
async def revoke(
    settings: Settings,
    run: RUN,
    envelope: Annotated[str, typer.Argument(help="Envelope id, `env-…`.")],
    comment: COMMENT = "",
) -> None:
    """Take an envelope back. What it has let through stays."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.envelopes import show_envelope

    async with connect(settings) as client:
        show_envelope(settings, await client.revoke_envelope(await find_run(client, run), envelope, comment))
