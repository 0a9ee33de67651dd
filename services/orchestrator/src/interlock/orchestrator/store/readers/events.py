"""Events: of one run, or of all runs in the order in which they became durable (the feed)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Select, select

from interlock.common.digests import digest_bytes, digest_text
from interlock.orchestrator.convert import salted
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.readers import others, page
from interlock.orchestrator.store.records import FeedRow
from interlock.orchestrator.store.schema import feed, journal

_ALL = select(*(journal.c[name] for name in FeedRow._fields if name != "texts"))


async def of_run(database: Database, run_id: str, after_seq: int = 0, limit: int = 1000) -> list[FeedRow]:
    """The run's events with a seq above `after_seq`, in order."""
    query = _ALL.where(journal.c.run_id == run_id, journal.c.seq > after_seq)
    return await _rows(database, query.order_by(journal.c.seq).limit(page(limit)))


async def of_feed(database: Database, after: int = 0, limit: int = 1000) -> list[FeedRow]:
    """All runs' events with a position above `after`, in order and without gaps.

    A position becomes visible only together with or after all lower ones: whoever has read up to n has missed
    nothing at or below n.
    """
    query = _ALL.where(journal.c.position > after)
    return await _rows(database, query.order_by(journal.c.position).limit(page(limit)))


async def position(database: Database) -> int:
    """The position of the last durable event; 0 if there is none."""
    row = await database.first(select(feed.c.position))
    return int(row[0]) if row else 0


async def time_of(database: Database, position: int) -> datetime | None:
    """When the first event at or after a position was recorded; None if there is none.

    There may be none at a position itself: its run was archived.
    """
    query = select(journal.c.at).where(journal.c.position >= position).order_by(journal.c.position)
    row = await database.first(query.limit(1))
    return row[0] if row else None


async def has(database: Database, run_id: str, type_: str, until: int) -> bool:
    """Whether one of the run's first `until` events is of a type."""
    query = select(journal.c.seq).where(journal.c.run_id == run_id, journal.c.seq <= until)
    return await database.first(query.where(journal.c.type == type_).limit(1)) is not None


async def _rows(database: Database, query: Select[tuple[object, ...]]) -> list[FeedRow]:
    rows = [FeedRow(*row) for row in await database.all(query)]
    wanted = {n: list(_committed(row)) for n, row in enumerate(rows) if row.type in salted.TYPES}
    if any(wanted.values()):
        bodies = await others.payload_bodies(
            database, [digest for each in wanted.values() for digest in each]
        )
        texts = {digest_text(raw): salted.plain(body).decode() for raw, body in bodies.items() if body}
        for n in wanted:
            rows[n] = rows[n]._replace(texts=texts)
    return rows


def _committed(row: FeedRow) -> Iterator[bytes]:
    return map(digest_bytes, salted.concealed(json.loads(row.canonical)["data"]))
