"""Whose turn it is to do something that one orchestrator does now and then: a row in `drivers`, by name.

A turn is taken until a time. Whoever has it moves that time on while at work, and at the end to when it is due
again; whoever dies leaves it to the next one after a little while. Time is the database's.
"""

from __future__ import annotations

from sqlalchemy import text

from interlock.orchestrator.store.engine import Database

_TAKE = text("""
INSERT INTO drivers (owner, until, turn)
VALUES (:name, clock_timestamp() + make_interval(secs => :seconds), true)
ON CONFLICT (owner) DO UPDATE SET until = excluded.until WHERE drivers.until < clock_timestamp()
RETURNING owner
""")
_SET = text("""
UPDATE drivers SET until = clock_timestamp() + make_interval(secs => :seconds) WHERE owner = :name RETURNING owner
""")


async def take(database: Database, name: str, seconds: float) -> bool:
    """Whether the turn is the caller's, for so long. Others are refused until then."""
    return bool(await database.write(_TAKE.bindparams(name=name, seconds=seconds)))


async def extend(database: Database, name: str, seconds: float) -> None:
    """From now, the turn is taken for so long: while at work, or until it is due again."""
    await database.write(_SET.bindparams(name=name, seconds=seconds))
