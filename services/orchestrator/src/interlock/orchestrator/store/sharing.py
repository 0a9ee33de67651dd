"""Which runs' journals name the same payloads: those of a fork's inherited steps, and of the runs it comes from."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ARRAY, Text, bindparam, text

from interlock.orchestrator.store.engine import Database

_SHARED = text("""
SELECT DISTINCT j.run_id, d.digest
  FROM journal j, unnest(:digests) AS d(digest)
 WHERE j.run_id <> :run AND (j.type = 'run.steps_inherited' OR j.run_id = ANY (:ancestors))
   AND position(convert_to('"' || d.digest || '"', 'UTF8') IN j.canonical) > 0
 ORDER BY 1, 2
""").bindparams(bindparam("digests", type_=ARRAY(Text)), bindparam("ancestors", type_=ARRAY(Text)))


async def shared(
    database: Database, run_id: str, digests: Sequence[str], ancestors: Sequence[str]
) -> dict[str, list[str]]:
    """Other runs that name some of these digests, and which. Reads all inherited steps there are: for rare use."""
    query = _SHARED.bindparams(run=run_id, digests=list(digests), ancestors=list(ancestors))
    found: dict[str, list[str]] = {}
    for other, digest in await database.all(query):
        found.setdefault(other, []).append(digest)
    return found
