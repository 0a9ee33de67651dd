"""Runs into files: exported, verified, then taken out of the database."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Final

from interlock.client import Client
from interlock.common.clock import SystemClock
from interlock.common.errors import InterlockError, Reason
from interlock.v1.run_pb2 import Run, RunState
from interlock.verify import verify_file
from interlock.verify.signed import Keys

_ENDED: Final = (
    RunState.RUN_STATE_COMPLETED,
    RunState.RUN_STATE_FAILED,
    RunState.RUN_STATE_CANCELLED,
)
_MOST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Archived:
    """A run in its file."""

    run_id: str
    file: str
    size: int
    bundle_digest: str


async def due(client: Client, seconds: float, run_ids: Sequence[str] = ()) -> list[Run]:
    """Runs that ended at least so long ago and are still in the database, oldest first."""
    before = SystemClock().now().timestamp() - seconds
    listed = await client.list_runs(states=list(_ENDED), limit=_MOST)
    return [
        run
        for run in reversed(listed)
        if not run.HasField("archived")
        and run.updated_at.ToDatetime(UTC).timestamp() <= before
        and (not run_ids or run.run_id in run_ids)
    ]


async def archive(client: Client, run: Run, directory: Path, keys: Keys | None) -> Archived:
    """One run. Whatever is interrupted here, the run is in the database, or in its file, or in both.

    Raises INVALID_ARGUMENT when the file cannot be written, EFFECT_TAMPERED when the bundle does not verify, and what
    the orchestrator says.
    """
    path = directory / f"{run.run_id}.bundle"
    digest = await _export(client.export_journal(run.run_id), path)
    report = verify_file(path, keys=keys)
    if not report.ok or report.head != run.journal_head:
        what = (
            str(report.problems[0]) if report.problems else f"its head is not the run's, {run.journal_head}"
        )
        raise InterlockError(
            Reason.EFFECT_TAMPERED,
            f"The bundle of {run.run_id} does not verify: {what}.",
            fix=f"Nothing was removed. See `interlock journal verify {path}`.",
        )
    await client.archive_run(run.run_id, digest, str(path))
    return Archived(run.run_id, str(path), path.stat().st_size, digest)


async def _export(chunks: AsyncIterator[bytes], path: Path) -> str:
    """Writes a file, durable and complete or not at all; its digest."""
    made = hashlib.sha256()
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            async for chunk in chunks:
                made.update(chunk)
                _write(file, chunk)
            os.fsync(file)
        finally:
            os.close(file)
        part.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise InterlockError(
            Reason.INVALID_ARGUMENT, f"Cannot write {path}: {error.strerror}.", field="to"
        ) from None
    return "sha256:" + made.hexdigest()


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _sync(directory: Path) -> None:
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
