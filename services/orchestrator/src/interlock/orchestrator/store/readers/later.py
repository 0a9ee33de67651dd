"""What happened in a workspace after a moment of one of its runs, over all of them."""

from __future__ import annotations

from sqlalchemy import text

from interlock.orchestrator.store.engine import Database

# The first tree of a run is told by its first preview; before that it has done nothing.
_FIRST = text("""
SELECT coalesce(min(position), 0) FROM journal
 WHERE run_id = :run AND type IN ('step.proposed', 'step.prepared')
""")
_AT = text("SELECT coalesce(max(position), 0) FROM journal WHERE run_id = :run AND seq = :seq")
_SINCE = text("""
SELECT r.id, (SELECT coalesce(max(j.seq), 0) FROM journal j WHERE j.run_id = r.id AND j.position <= :position)
  FROM runs r
 WHERE r.workspace_id = :workspace AND r.id <> :run AND r.position > :position AND r.seq > 0  -- 0: archived
 ORDER BY r.id
""")
_UNDONE = text("""
SELECT DISTINCT run_id FROM journal
 WHERE run_id = ANY (:ids) AND type IN ('run.rolled_back', 'run.overtaken', 'step.reverted')
""")


async def position_of(database: Database, run_id: str, moment: int) -> int:
    """Where in the feed an event of a run is; for 0, its first preview, which tells the tree that it began with."""
    query = _AT.bindparams(run=run_id, seq=moment) if moment else _FIRST.bindparams(run=run_id)
    row = await database.first(query)
    return int(row[0]) if row else 0


async def runs_since(
    database: Database, workspace_id: str, run_id: str, position: int
) -> list[tuple[str, int]]:
    """Other runs of a workspace to which something happened after a position; of each its last event up to there."""
    query = _SINCE.bindparams(workspace=workspace_id, run=run_id, position=position)
    return [(row[0], int(row[1])) for row in await database.all(query)]


async def undone(database: Database, run_ids: list[str]) -> list[str]:
    """Those of the runs of which something was ever undone."""
    return [row[0] for row in await database.all(_UNDONE.bindparams(ids=run_ids))]
