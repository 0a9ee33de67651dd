"""What runs still refer to: their workspaces, and the trees in the journals of those that are live or recent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

from sqlalchemy import Text, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from interlock.orchestrator.domain.model import RUN_FINAL
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.schema import runs

# Canonical JSON has no spaces, and a quote inside a string is escaped: only fields match. Every field that names a
# tree has `tree` in its name; one match too many keeps a tree too many.
_TREES = text("""
SELECT DISTINCT m[1] FROM journal j,
       regexp_matches(convert_from(j.canonical, 'UTF8'), '"[a-z_]*tree[a-z_]*":"(sha256:[0-9a-f]{64})"', 'g') m
 WHERE j.run_id = ANY (:ids)
""").bindparams(bindparam("ids", type_=ARRAY(Text)))

_WORKSPACES = text("""
SELECT DISTINCT workspace_id FROM runs WHERE workspace_id > :after ORDER BY workspace_id LIMIT :limit
""")


async def workspaces(database: Database, page: int) -> AsyncIterator[list[str]]:
    """The workspaces of all runs, ended ones too, at most `page` at a time."""
    after = ""
    while True:
        rows = await database.all(_WORKSPACES.bindparams(after=after, limit=page))
        if not rows:
            return
        yield [row[0] for row in rows]
        after = rows[-1][0]


async def run_ids(database: Database, age: timedelta, page: int) -> AsyncIterator[list[str]]:
    """Runs that have not ended, and those that changed in the last `age`, at most `page` at a time."""
    after = ""
    since = func.clock_timestamp() - age
    kept = runs.c.state.not_in(sorted(state.value for state in RUN_FINAL)) | (runs.c.updated_at >= since)
    while True:
        query = select(runs.c.id).where(runs.c.id > after, kept).order_by(runs.c.id).limit(page)
        rows = await database.all(query)
        if not rows:
            return
        yield [row[0] for row in rows]
        after = rows[-1][0]


async def trees(database: Database, ids: Sequence[str]) -> list[str]:
    """Every tree (`sha256:…`) that the journals of these runs name."""
    return [row[0] for row in await database.all(_TREES.bindparams(ids=list(ids)))]
