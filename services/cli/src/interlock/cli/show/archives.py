"""Runs on their way into the archive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interlock.cli.archiving import Archived, archive
from interlock.cli.output import progress, write_json
from interlock.cli.safe import escape
from interlock.cli.settings import Output, Settings
from interlock.cli.text import counted
from interlock.client import Client
from interlock.v1.run_pb2 import Run
from interlock.verify.signed import Keys


async def archive_all(
    settings: Settings,
    client: Client,
    runs: Sequence[Run],
    directory: Path,
    keys: Keys | None,
    *,
    dry_run: bool,
) -> None:
    """One after the other; stops at the first that cannot be."""
    done: list[Archived] = []
    for run in runs:
        if dry_run:
            progress(f"{run.run_id} would be archived.")
            continue
        done.append(await archive(client, run, directory, keys))
        if settings.output is Output.TABLE:
            print(escape(f"{done[-1].run_id}  {done[-1].bundle_digest}  {done[-1].file}"), flush=True)
    if settings.output is not Output.TABLE:
        write_json({"archived": [_plain(each) for each in done]}, settings.output)
    elif not dry_run:
        print(f"Archived {counted(len(done), 'run')}, {sum(each.size for each in done):,} bytes.")


def _plain(each: Archived) -> dict[str, str | int]:
    return {
        "runId": each.run_id,
        "file": each.file,
        "size": each.size,
        "bundleDigest": each.bundle_digest,
    }
