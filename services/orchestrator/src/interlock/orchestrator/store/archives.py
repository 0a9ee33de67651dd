"""Runs that were archived: what is left of them, and taking one more out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ARRAY, LargeBinary, bindparam, select, text

from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.schema_proofs import archives


class ArchiveRow(NamedTuple):
    """A run that is not in the journal any more: `seq` and `head` (32 bytes) were its last event's."""

    run_id: str
    seq: int
    head: bytes
    bundle: bytes
    place: str
    at: datetime
    by: str


_ALL = select(*(archives.c[name] for name in ArchiveRow._fields))
_ARCHIVE = text("SELECT archive_run(:run_id, :seq, :head, :bundle, :place, :by, :alone) AS done").bindparams(
    bindparam("alone", type_=ARRAY(LargeBinary))
)
# Those of earlier releases have no salt, so that runs that have nothing to do with one another may share them.
_SALTED = text("""
SELECT digest FROM payloads WHERE digest = ANY (:digests) AND substr(body, 1, 15) = 'interlock-salt:'::bytea
""").bindparams(bindparam("digests", type_=ARRAY(LargeBinary)))


async def of(database: Database, run_ids: Sequence[str]) -> dict[str, ArchiveRow]:
    """Those of the runs that were archived."""
    rows = await database.all(_ALL.where(archives.c.run_id.in_(run_ids)))
    return {row[0]: ArchiveRow(*row) for row in rows}


async def salted(database: Database, digests: Sequence[bytes]) -> list[bytes]:
    """Those of the payloads that only runs of one family can refer to."""
    return [bytes(row[0]) for row in await database.all(_SALTED.bindparams(digests=list(digests)))]


async def take_out(database: Database, row: ArchiveRow, alone: Sequence[bytes]) -> bool:
    """Archives a run with the payloads that nobody else refers to; False when it is not as it was any more."""
    values = {name: value for name, value in row._asdict().items() if name != "at"}
    found = await database.write(_ARCHIVE.bindparams(**values, alone=list(alone)))
    return bool(found[0].done)
