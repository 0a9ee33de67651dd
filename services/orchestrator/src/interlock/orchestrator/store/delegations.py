"""Who may decide in whose place, in its table."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, and_, exists, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.schema import access_tokens, delegations


class DelegationRow(NamedTuple):
    """A delegation."""

    id: str
    from_subject: str
    to_subject: str
    scope: Mapping[str, str]
    note: str
    authentication: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    revoked_by: str = ""
    owner: str = ""


_ALL: Final = select(*(delegations.c[name] for name in DelegationRow._fields))


async def give(database: Database, row: DelegationRow, request_id: str) -> DelegationRow:
    """Keeps a new delegation, or returns the one that this request has made before. Raises REQUEST_ID_REUSED."""
    kept = await database.write(
        insert(delegations)
        .values(**row._asdict(), request_id=request_id or None)
        .on_conflict_do_nothing(index_elements=["request_id"])
        .returning(delegations.c.id)
    )
    if kept:
        return row
    known = await database.first(_ALL.where(delegations.c.request_id == request_id))
    before = DelegationRow(*known) if known is not None else None
    if before is None or (before.from_subject, before.to_subject, before.note) != (
        row.from_subject,
        row.to_subject,
        row.note,
    ):
        raise InterlockError(
            Reason.REQUEST_ID_REUSED,
            "This request_id was used for another delegation before.",
            field="request_id",
            fix="Use a new request_id.",
        )
    return before


async def in_force(database: Database, from_subject: str, to_subject: str) -> list[DelegationRow]:
    """Delegations from one to the other that can be used now, newest first, at most 100."""
    query = _ALL.where(
        delegations.c.from_subject == from_subject, delegations.c.to_subject == to_subject, _in_force()
    )
    rows = await database.all(query.order_by(delegations.c.id.desc()).limit(100))
    return [DelegationRow(*row) for row in rows]


async def standing(database: Database, ids: set[str]) -> set[str]:
    """Those of these delegations that can be used now."""
    if not ids:
        return set()
    query = select(delegations.c.id).where(delegations.c.id.in_(ids), _in_force())
    return {row[0] for row in await database.all(query)}


async def page(
    database: Database, *, everything: bool, subject: str, before: str | None, limit: int
) -> list[DelegationRow]:
    """Delegations, newest first."""
    query = _ALL.order_by(delegations.c.id.desc()).limit(limit)
    if not everything:
        query = query.where(_in_force())
    if subject:
        query = query.where(or_(delegations.c.from_subject == subject, delegations.c.to_subject == subject))
    if before is not None:
        query = query.where(delegations.c.id < before)
    return [DelegationRow(*row) for row in await database.all(query)]


async def get(database: Database, delegation_id: str) -> DelegationRow:
    """One delegation, whatever has become of it. Raises DELEGATION_NOT_FOUND."""
    row = await database.first(_ALL.where(delegations.c.id == delegation_id))
    if row is None:
        raise InterlockError(
            Reason.DELEGATION_NOT_FOUND,
            f"There is no delegation {delegation_id}.",
            field="delegation_id",
            metadata={"delegation_id": delegation_id},
        )
    return DelegationRow(*row)


async def revoke(database: Database, delegation_id: str, by: str) -> DelegationRow:
    """The delegation, revoked; who revoked it first stays. Raises DELEGATION_NOT_FOUND."""
    await database.write(
        update(delegations)
        .where(delegations.c.id == delegation_id, delegations.c.revoked_at.is_(None))
        .values(revoked_at=func.now(), revoked_by=by)
    )
    return await get(database, delegation_id)


def _in_force() -> ColumnElement[bool]:
    """Neither over nor revoked, and neither is the token that it was made with."""
    dead = and_(
        delegations.c.authentication == literal("token:") + access_tokens.c.id,
        or_(access_tokens.c.revoked_at.is_not(None), access_tokens.c.expires_at <= func.now()),
    )
    return and_(
        delegations.c.revoked_at.is_(None),
        delegations.c.expires_at > func.now(),
        ~exists(select(literal(1)).select_from(access_tokens).where(dead)),
    )
