"""Who drives a run: leases with fencing epochs.

One heartbeat row per orchestrator (`drivers`) keeps all its leases, so renewing costs the same for one run and
for thousands and never touches the rows that the journal updates. A run can be claimed when it needs a driver
and its owner's heartbeat is over, or absent: ended by its owner, or by another one that saw it gone (`presence`).
Each claim raises the run's epoch, and the journal refuses appends with an older one. Time is the database's, so that
only one clock counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import DateTime, Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from interlock.orchestrator.store.engine import Database

# A run that another claimer took between our snapshot and our lock is read again as it is now, but its owner's
# heartbeat is not: only the epoch tells that it was taken.
_CLAIM = text("""
WITH beat AS (
    INSERT INTO drivers (owner, until) VALUES (:owner, clock_timestamp() + make_interval(secs => :ttl))
    ON CONFLICT (owner) DO UPDATE SET until = excluded.until
), seen AS MATERIALIZED (
    SELECT r.id, r.epoch FROM runs r LEFT JOIN drivers d ON d.owner = r.lease_owner
     WHERE r.needs_driver AND r.lease_owner IS DISTINCT FROM :owner
       AND (d.owner IS NULL OR d.until < clock_timestamp())
     ORDER BY r.id LIMIT :limit * 8
), free AS (
    SELECT r.id FROM runs r JOIN seen ON seen.id = r.id
     WHERE r.epoch = seen.epoch AND r.needs_driver
     ORDER BY r.id
     LIMIT (SELECT least(:limit, greatest(:least, ceil(count(*) / greatest(1, (
                SELECT count(*) FROM drivers WHERE until >= clock_timestamp() AND NOT turn)::numeric))::int)) FROM seen)
       FOR UPDATE OF r SKIP LOCKED
)
UPDATE runs r SET epoch = r.epoch + 1, lease_owner = :owner FROM free WHERE r.id = free.id
RETURNING r.id, r.epoch, r.seq, r.state
""")
_RENEW = text("""
WITH beat AS (
    INSERT INTO drivers (owner, until, server)
    VALUES (:owner, clock_timestamp() + make_interval(secs => :ttl), :server)
    ON CONFLICT (owner) DO UPDATE SET until = excluded.until, server = excluded.server
), swept AS (DELETE FROM drivers WHERE until < clock_timestamp() - interval '1 hour')
SELECT id, epoch FROM runs WHERE lease_owner = :owner
""").bindparams(bindparam("server", type_=DateTime(timezone=True)))
# Rows are locked in the order in which the journal locks them, so that the two cannot deadlock.
_RELEASE = text("""
WITH mine AS (SELECT id FROM runs WHERE id = ANY (:ids) AND lease_owner = :owner ORDER BY id FOR UPDATE)
UPDATE runs r SET lease_owner = NULL FROM mine WHERE r.id = mine.id RETURNING r.id
""").bindparams(bindparam("ids", type_=ARRAY(Text)))
_RETIRE = text("DELETE FROM drivers WHERE owner = :owner RETURNING owner")


_DRIVER = text("""
SELECT coalesce(r.lease_owner, ''), coalesce(d.until >= clock_timestamp(), false), d.until
  FROM runs r LEFT JOIN drivers d ON d.owner = r.lease_owner WHERE r.id = :id
""")


LEAST = 8
"""So few runs are claimed by whoever comes first, however many could share them."""


class Holder(NamedTuple):
    """Who has a run's lease (empty: nobody), whether its heartbeat goes on, and when it was, or will be, over."""

    owner: str
    living: bool
    until: datetime | None

    @property
    def silent_since(self) -> datetime | None:
        """When the lease was over; None while it is not."""
        return None if self.living else self.until


class Claimed(NamedTuple):
    """A run that is now the caller's to drive, with the epoch for its appends."""

    run_id: str
    epoch: int
    seq: int
    state: str


async def claim(database: Database, owner: str, ttl: float, limit: int = 100) -> list[Claimed]:
    """Takes runs that need a driver and have no living one; also counts as a heartbeat.

    At most `limit`, and of many no more than an even share among those who live: the others take theirs.

    Args:
        owner: unique per process and start: a restarted process must not inherit what it no longer knows.
        ttl: seconds after which the leases are free unless renewed.
    """
    rows = await database.write(_CLAIM.bindparams(owner=owner, ttl=ttl, limit=limit, least=LEAST))
    return [Claimed(*row) for row in rows]


async def renew(database: Database, owner: str, ttl: float, server: datetime | None = None) -> dict[str, int]:
    """Heartbeat. Returns the runs still the owner's, with their epochs: stop driving any that is missing.

    Args:
        server: as `Presence.server` tells it.
    """
    rows = await database.write(_RENEW.bindparams(owner=owner, ttl=ttl, server=server))
    return {row[0]: row[1] for row in rows}


async def driver(database: Database, run_id: str) -> Holder:
    """Who drives the run, as everybody sees it."""
    row = await database.first(_DRIVER.bindparams(id=run_id))
    return Holder(*row) if row else Holder("", False, None)


async def release(database: Database, owner: str, run_ids: Sequence[str]) -> list[str]:
    """Gives leases back so that others can claim at once; returns those that were the owner's."""
    rows = await database.write(_RELEASE.bindparams(owner=owner, ids=list(run_ids)))
    return [row[0] for row in rows]


async def retire(database: Database, owner: str) -> bool:
    """Ends the owner's heartbeat on a clean stop: all its leases are free at once. False if it had none."""
    return bool(await database.write(_RETIRE.bindparams(owner=owner)))
