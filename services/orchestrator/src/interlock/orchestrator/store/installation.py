"""What all orchestrators on one database have in common and nobody else knows."""

from __future__ import annotations

import secrets

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain.keys import SECRET_BYTES
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.schema import installation


async def secret(database: Database) -> bytes:
    """The installation's secret, made by whoever asks first. Raises DATABASE_UNAVAILABLE."""
    offered = insert(installation).values(id=1, secret=secrets.token_bytes(SECRET_BYTES))
    await database.write(offered.on_conflict_do_nothing())
    row = await database.first(select(installation.c.secret).where(installation.c.id == 1))
    if row is None:
        raise InterlockError(
            Reason.DATABASE_UNAVAILABLE,
            "The database did not keep the installation's secret.",
            fix="Try again.",
        )
    return bytes(row.secret)
