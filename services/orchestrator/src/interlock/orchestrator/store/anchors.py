"""Anchors in their tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ARRAY, BigInteger, Integer, LargeBinary, Text, bindparam, select, text

from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.readers import page
from interlock.orchestrator.store.schema_proofs import anchored_heads, anchors


class AnchorRow(NamedTuple):
    """An anchor; see domain/anchors.py."""

    number: int
    at: datetime
    position: int
    heads: int
    root: bytes
    statement: bytes
    key_id: str
    signature: bytes


class HeadRow(NamedTuple):
    """A run's head at an anchor: event `seq` had the hash `head` (32 bytes)."""

    run_id: str
    seq: int
    head: bytes


_ALL = select(*(anchors.c[name] for name in AnchorRow._fields))
# The last of a run's events between two positions: the newest rows of the journal, by an index, and no others.
_CHANGED = text("""
SELECT DISTINCT ON (run_id) run_id, seq, hash FROM journal
 WHERE position > :after AND position <= :until ORDER BY run_id, seq DESC
""")
_INSERT = text("""
WITH made AS (
    INSERT INTO anchors (number, at, position, heads, root, statement, key_id, signature)
    VALUES (:number, :at, :position, :heads, :root, :statement, :key_id, :signature)
    ON CONFLICT DO NOTHING RETURNING number)
INSERT INTO anchored_heads (anchor, leaf, run_id, seq, head)
SELECT m.number, u.leaf - 1, u.run_id, u.seq, u.head
  FROM made m, unnest(:run_ids, :seqs, :digests) WITH ORDINALITY AS u(run_id, seq, head, leaf)
RETURNING leaf
""").bindparams(
    bindparam("run_ids", type_=ARRAY(Text)),
    bindparam("seqs", type_=ARRAY(BigInteger)),
    bindparam("digests", type_=ARRAY(LargeBinary)),
    bindparam("heads", type_=Integer),
)


async def newest(database: Database) -> AnchorRow | None:
    """The last anchor; None where there is none."""
    rows = await listed(database, before=0, limit=1)
    return rows[0] if rows else None


async def listed(database: Database, *, before: int, limit: int) -> list[AnchorRow]:
    """Anchors with a number below `before` (0: all), newest first."""
    query = _ALL.order_by(anchors.c.number.desc()).limit(page(limit))
    if before:
        query = query.where(anchors.c.number < before)
    return [AnchorRow(*row) for row in await database.all(query)]


async def changed(database: Database, after: int, until: int) -> list[HeadRow]:
    """The runs of which something happened between two positions of the feed, with their heads at the later one."""
    return [HeadRow(*row) for row in await database.all(_CHANGED.bindparams(after=after, until=until))]


async def keep(database: Database, row: AnchorRow, heads: Sequence[HeadRow]) -> bool:
    """Writes an anchor with its leaves, in order; False when somebody else wrote this number first."""
    columns = {
        "run_ids": [head.run_id for head in heads],
        "seqs": [head.seq for head in heads],
        "digests": [head.head for head in heads],
    }
    return bool(await database.write(_INSERT.bindparams(**row._asdict(), **columns)))


async def of_run(database: Database, run_id: str, limit: int) -> list[tuple[AnchorRow, int]]:
    """The newest anchors that a run is in, oldest first, each with the run's leaf."""
    query = select(*_ALL.selected_columns, anchored_heads.c.leaf).join(
        anchored_heads, anchored_heads.c.anchor == anchors.c.number
    )
    query = query.where(anchored_heads.c.run_id == run_id).order_by(anchors.c.number.desc())
    rows = await database.all(query.limit(page(limit)))
    return [(AnchorRow(*row[:-1]), row[-1]) for row in reversed(rows)]


async def leaves(database: Database, number: int) -> list[HeadRow]:
    """All heads of an anchor, in the order of its tree."""
    query = select(anchored_heads.c.run_id, anchored_heads.c.seq, anchored_heads.c.head)
    rows = await database.all(query.where(anchored_heads.c.anchor == number).order_by(anchored_heads.c.leaf))
    return [HeadRow(*row) for row in rows]
