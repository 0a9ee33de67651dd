"""`interlock journal`."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.settings import Settings

app = group("Show, export and verify what happened.")

RUN = Annotated[str, typer.Argument(help="Run id, `run-…`, or its beginning.")]


@command(app, "show")
async def show(
    settings: Settings,
    run: RUN,
    after: Annotated[int, typer.Option(min=0, help="Only events after this seq.")] = 0,
) -> None:
    """Show a run's events in order."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.journal import list_events

    async with connect(settings) as client:
        run = await find_run(client, run)
        list_events(settings, [event async for event in client.list_events(run, after)])


@command(app, "export")
async def export(
    settings: Settings,
    run: RUN,
    file: Annotated[
        str, typer.Option("--file", "-f", help="Where to write; default: standard output.")
    ] = "-",
) -> None:
    """Write a run's journal, with everything it refers to, as a bundle that can be verified offline."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.output import progress
    from interlock.cli.session import connect
    from interlock.cli.show.journal import write_bundle

    async with connect(settings) as client:
        run = await find_run(client, run)
        size = await write_bundle(client.export_journal(run), file)
    progress(f"Wrote {size:,} bytes.")


@command(app, "verify")
async def verify(
    settings: Settings,
    target: Annotated[
        str, typer.Argument(help="Bundle file (- = standard input), or a run id to export now.")
    ],
    head: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIGEST[@N]",
            help="Digest of the last event, or with @N of event N, as known from elsewhere; repeatable.",
        ),
    ] = None,
    heads: Annotated[
        str,
        typer.Option(
            metavar="FILE", help="The same from a file: what `approvals watch --record-heads` wrote."
        ),
    ] = "",
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Public key (PEM) of whoever signs; again for an older one: signatures are checked.",
        ),
    ] = None,
    parent: Annotated[
        list[str] | None,
        typer.Option(help="Bundle of the run this one is a fork of; repeat it for that one's parent."),
    ] = None,
) -> int:
    """Check every byte of a journal; exit 1 naming what is wrong. A file needs no service.

    That a journal was cut after one of its events, or written anew, shows only by a head that was noted before.
    A run is compared with the head the orchestrator reports as well, and a fork with the runs it comes from; for
    the file of a fork, --parent names theirs.
    """
    from interlock.cli.show.journal import is_run_id, known_heads, show_report, verify_path, verify_run
    from interlock.cli.show.proofs import public_keys

    known, keys = known_heads(head or [], heads), public_keys(key or [])
    if is_run_id(target):
        return show_report(settings, await verify_run(settings, target, known, keys))
    return show_report(settings, verify_path(target, known, parent or [], keys))


@command(app, "keygen")
async def keygen(
    settings: Settings,
    file: Annotated[
        str, typer.Argument(help="Where the private key goes; the public one beside it, FILE.pub.")
    ],
) -> None:
    """Make an Ed25519 key for INTERLOCK_JOURNAL_KEY_FILE, which signs journals and anchors."""
    from interlock.cli.show.proofs import made_key

    made_key(settings, file)


@command(app, "anchors")
async def anchors(settings: Settings, limit: Annotated[int, typer.Option(min=1, max=100_000)] = 20) -> None:
    """List the signed statements about the heads of all runs, newest first."""
    from interlock.cli.session import connect
    from interlock.cli.show.proofs import list_anchors

    async with connect(settings) as client:
        list_anchors(settings, await client.list_anchors(limit))


@command(app, "erase")
async def erase(
    settings: Settings,
    run: RUN,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why; it is in the journal for good.")],
    field: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[SEQ:]NAME", help="A text beside the events: goal, comment, new_content, …; repeatable."
        ),
    ] = None,
    payload: Annotated[
        list[str] | None, typer.Option(metavar="DIGEST", help="A payload; repeatable.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="Every text and payload of the run.")
    ] = False,
) -> None:
    """Erase texts and payloads of a run that has ended, for good. Its journal says so, and verifies as before."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect
    from interlock.cli.show.proofs import show_erased

    async with connect(settings) as client:
        found = await find_run(client, run)
        done = await client.erase_from_run(
            found, reason, fields=field or [], payloads=payload or [], everything=everything
        )
        show_erased(settings, done)


@command(app, "archive")
async def archive(
    settings: Settings,
    to: Annotated[str, typer.Option("--to", metavar="DIR", help="Where the bundles go: DIR/RUN.bundle.")],
    runs: Annotated[
        list[str] | None, typer.Argument(help="Only these, by id; default: all that are old enough.")
    ] = None,
    older_than: Annotated[
        str, typer.Option(metavar="30d", help="Only runs that ended at least so long ago.")
    ] = "30d",
    key: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Public key (PEM): bundles must be signed with it; repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which, and do nothing.")] = False,
) -> None:
    """Move runs that have ended out of the database, each as a bundle that was verified before anything is removed."""
    from pathlib import Path

    from interlock.cli.archiving import due
    from interlock.cli.session import connect
    from interlock.cli.show.archives import archive_all
    from interlock.cli.show.proofs import public_keys
    from interlock.cli.values import parse_duration

    seconds = parse_duration(older_than, "older-than") or 0.0
    keys = public_keys(key or [])
    async with connect(settings) as client:
        found = await due(client, seconds, runs or ())
        await archive_all(settings, client, found, Path(to), keys, dry_run=dry_run)
