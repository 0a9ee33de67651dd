"""Endpoints and deliveries, in their tables. Times of deliveries are the database's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, LargeBinary, Text, bindparam, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.store.engine import Database, is_outage, unavailable
from interlock.orchestrator.store.schema import webhook_deliveries as deliveries
from interlock.orchestrator.store.schema import webhooks

MOST: Final = 100
"""Endpoints on a database."""


class EndpointRow(NamedTuple):
    """An endpoint, with the encrypted secret that signs for it, and the name of the key that opens it."""

    id: str
    url: str
    chosen: Mapping[str, Any]
    secret: bytes
    note: str
    created_by: str
    created_at: datetime
    position: int
    sealed_with: str


class DeliveryRow(NamedTuple):
    """A delivery without its body."""

    id: str
    number: int
    webhook_id: str
    run_id: str
    position: int
    type: str
    state: str
    attempts: int
    last_status: int
    last_error: str
    created_at: datetime
    next_at: datetime
    settled_at: datetime | None


class Due(NamedTuple):
    """A delivery whose time has come."""

    id: str
    webhook_id: str
    run_id: str
    url: str
    secret: bytes
    sealed_with: str
    body: bytes
    attempts: int


class New(NamedTuple):
    """A delivery to be made."""

    id: str
    webhook_id: str
    run_id: str
    position: int
    type: str
    body: bytes


_ENDPOINT: Final = select(*(webhooks.c[name] for name in EndpointRow._fields))
_DELIVERY: Final = select(*(deliveries.c[name] for name in DeliveryRow._fields))
_COUNTS: Final = select(deliveries.c.webhook_id, deliveries.c.state, func.count()).where(
    deliveries.c.state != "delivered"
)
# Of each endpoint and run the oldest one that is pending: whatever holds it up holds up those behind it.
_DUE: Final = text("""
SELECT id, webhook_id, run_id, url, secret, sealed_with, body, attempts FROM (
  SELECT h.*, w.url, w.secret, w.sealed_with,
         row_number() OVER (PARTITION BY w.id ORDER BY h.next_at, h.number) AS place
    FROM webhooks w CROSS JOIN LATERAL (
      SELECT DISTINCT ON (d.run_id) d.id, d.webhook_id, d.run_id, d.body, d.attempts, d.next_at, d.number
        FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.state = 'pending'
       ORDER BY d.run_id, d.number) h
   WHERE h.next_at <= clock_timestamp() AND NOT h.id = ANY (:busy)) due
 WHERE place <= :each ORDER BY place, next_at
""").bindparams(bindparam("busy", type_=ARRAY(Text)))
_ENQUEUE: Final = text("""
INSERT INTO webhook_deliveries (id, webhook_id, run_id, position, type, body)
SELECT u.id, u.webhook_id, u.run_id, u.position, u.type, u.body
  FROM unnest(:ids, :webhooks, :runs, :positions, :types, :bodies)
       WITH ORDINALITY AS u(id, webhook_id, run_id, position, type, body, n)
  JOIN (SELECT id FROM webhooks WHERE id = ANY (:webhooks) FOR KEY SHARE) w ON w.id = u.webhook_id
 ORDER BY u.n
ON CONFLICT (id) DO NOTHING
""").bindparams(
    *(bindparam(name, type_=ARRAY(Text)) for name in ("ids", "webhooks", "runs", "types")),
    bindparam("positions", type_=ARRAY(BigInteger)),
    bindparam("bodies", type_=ARRAY(LargeBinary)),
)
_MOVE: Final = text(
    "UPDATE webhooks SET position = :position WHERE id = ANY (:ids) AND position < :position"
).bindparams(bindparam("ids", type_=ARRAY(Text)))
_SETTLE: Final = text("""
UPDATE webhook_deliveries
   SET state = :state, attempts = attempts + 1, last_status = :status, last_error = :error,
       next_at = clock_timestamp() + make_interval(secs => :delay),
       settled_at = CASE WHEN :state = 'pending' THEN NULL ELSE clock_timestamp() END
 WHERE id = :id
""")
_AGAIN: Final = text("""
UPDATE webhook_deliveries SET state = 'pending', attempts = 0, next_at = clock_timestamp(), settled_at = NULL
 WHERE id = :id
""")
_OLD: Final = text("""
DELETE FROM webhook_deliveries
 WHERE settled_at < clock_timestamp() - CASE state WHEN 'dead' THEN interval '30 days' ELSE interval '7 days' END
""")


async def add(database: Database, row: EndpointRow, request_id: str) -> None:
    """Keeps a new endpoint. Raises REQUEST_ID_REUSED, RESOURCE_EXHAUSTED."""
    if len(await endpoints(database)) >= MOST:
        raise InterlockError(
            Reason.RESOURCE_EXHAUSTED, f"There are {MOST} webhooks.", fix="Remove one that is not needed."
        )
    adding = insert(webhooks).values(**row._asdict(), request_id=request_id or None)
    adding = adding.on_conflict_do_nothing(index_elements=["request_id"])
    if not await database.write(adding.returning(webhooks.c.id)):
        raise InterlockError(
            Reason.REQUEST_ID_REUSED,
            "This request has registered a webhook before.",
            field="request_id",
            fix="`interlock webhook list` shows it.",
        )


async def endpoints(database: Database) -> list[EndpointRow]:
    """All of them, oldest first."""
    return [EndpointRow(*row) for row in await database.all(_ENDPOINT.order_by(webhooks.c.id))]


async def endpoint(database: Database, webhook_id: str) -> EndpointRow:
    """Raises WEBHOOK_NOT_FOUND."""
    row = await database.first(_ENDPOINT.where(webhooks.c.id == webhook_id))
    if row is None:
        raise missing(f"There is no webhook {webhook_id}.")
    return EndpointRow(*row)


async def remove(database: Database, webhook_id: str) -> None:
    """Raises WEBHOOK_NOT_FOUND."""
    gone = delete(webhooks).where(webhooks.c.id == webhook_id).returning(webhooks.c.id)
    if not await database.write(gone):
        raise missing(f"There is no webhook {webhook_id}.")


async def reseal(database: Database, row: EndpointRow, secret: bytes, sealed_with: str) -> None:
    """Keeps the secret of an endpoint as another key encrypts it, unless that was done meanwhile."""
    there = (webhooks.c.id == row.id) & (webhooks.c.sealed_with == row.sealed_with)
    await database.write(update(webhooks).where(there).values(secret=secret, sealed_with=sealed_with))


async def counts(database: Database) -> dict[tuple[str, str], int]:
    """How many deliveries of an endpoint are `pending` and `dead`."""
    rows = await database.all(_COUNTS.group_by(deliveries.c.webhook_id, deliveries.c.state))
    return {(row[0], row[1]): int(row[2]) for row in rows}


async def enqueue(database: Database, new: Sequence[New], ids: Sequence[str], position: int) -> None:
    """Adds deliveries, and says that those of these endpoints are made up to a position: both or neither."""
    try:
        async with database.borrow() as connection, connection.begin():
            if new:
                columns = list(zip(*new, strict=True))
                names = ("ids", "webhooks", "runs", "positions", "types", "bodies")
                await connection.execute(_ENQUEUE, {n: list(c) for n, c in zip(names, columns, strict=True)})
            await connection.execute(_MOVE, {"position": position, "ids": list(ids)})
    except (DBAPIError, PoolTimeout, OSError) as error:
        if not is_outage(error):
            raise
        raise unavailable(error, "unknown") from error


async def due(database: Database, busy: Sequence[str], each: int) -> list[Due]:
    """The next delivery of each run whose time has come, at most `each` of an endpoint, without those in `busy`."""
    return [Due(*row) for row in await database.all(_DUE.bindparams(busy=list(busy), each=each))]


async def settle(
    database: Database, delivery_id: str, state: str, *, status: int, error: str, delay: float = 0.0
) -> None:
    """What came of a try; a pending one is tried again after `delay` seconds."""
    await database.write(
        _SETTLE.bindparams(id=delivery_id, state=state, status=status, error=error, delay=delay)
    )


async def again(database: Database, delivery_id: str) -> DeliveryRow:
    """The delivery, pending as if it had never been tried. Raises WEBHOOK_NOT_FOUND."""
    await database.write(_AGAIN.bindparams(id=delivery_id))
    return await delivery(database, delivery_id)


async def delivery(database: Database, delivery_id: str) -> DeliveryRow:
    """Raises WEBHOOK_NOT_FOUND."""
    row = await database.first(_DELIVERY.where(deliveries.c.id == delivery_id))
    if row is None:
        raise missing(f"There is no delivery {delivery_id}.")
    return DeliveryRow(*row)


async def page(
    database: Database, webhook_id: str, *, states: Sequence[str], before: int | None, limit: int
) -> list[DeliveryRow]:
    """Deliveries of an endpoint, newest first."""
    query = _DELIVERY.where(deliveries.c.webhook_id == webhook_id)
    if states:
        query = query.where(deliveries.c.state.in_(states))
    if before is not None:
        query = query.where(deliveries.c.number < before)
    rows = await database.all(query.order_by(deliveries.c.number.desc()).limit(limit))
    return [DeliveryRow(*row) for row in rows]


async def forget_old(database: Database) -> None:
    """Removes what was delivered a week ago, and what was given up 30 days ago."""
    await database.write(_OLD)


def missing(message: str) -> InterlockError:
    """WEBHOOK_NOT_FOUND."""
    return InterlockError(Reason.WEBHOOK_NOT_FOUND, message)
