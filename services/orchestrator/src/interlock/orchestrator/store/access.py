"""Issued tokens and refused calls, in their tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Select, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.sql.dml import ReturningInsert

from interlock.common.access.denials import Denial
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity
from interlock.orchestrator.store.engine import Database, is_outage, unavailable
from interlock.orchestrator.store.schema import access_denials, access_tokens


class TokenRow(NamedTuple):
    """An issued token."""

    id: str
    subject: str
    roles: Sequence[str]
    scope: Mapping[str, str]
    note: str
    created_by: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    revoked_by: str = ""
    owner: str = ""


class DenialRow(NamedTuple):
    """A refused call."""

    id: int
    at: datetime
    subject: str
    authentication: str
    rpc: str
    resource: str
    message: str
    times: int


_TOKEN: Final = select(*(access_tokens.c[name] for name in TokenRow._fields))
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('access_tokens', 7401))")
_DENIAL: Final = select(*(access_denials.c[name] for name in DenialRow._fields))


async def issue(
    database: Database,
    row: TokenRow,
    digest: bytes,
    request_id: str,
    check: Callable[[TokenRow, Sequence[TokenRow]], None],
) -> None:
    """Keeps a new token. Raises REQUEST_ID_REUSED when this request has issued one before, and what `check` raises.

    `check` gets the token and those that work now and are spelled like it. Tokens are issued one at a time, so that of
    two at once that could not stand beside each other the second is refused.
    """
    values = {**row._asdict(), "digest": digest, "request_id": request_id or None}
    try:
        async with database.borrow() as connection, connection.begin():
            await connection.execute(_LOCK)
            alike = await connection.execute(_alike([name for name in (row.subject, row.owner) if name]))
            check(row, [TokenRow(*each) for each in alike.all()])
            kept = (await connection.execute(_issuing(values))).all()
    except (DBAPIError, PoolTimeout, OSError) as error:
        if not is_outage(error):
            raise
        raise unavailable(error, "unknown") from error
    if not kept:
        raise await _issued_before(database, request_id)


def _issuing(values: Mapping[str, object]) -> ReturningInsert[tuple[str]]:
    return (
        insert(access_tokens)
        .values(**values)
        .on_conflict_do_nothing(index_elements=["request_id"])
        .returning(access_tokens.c.id)
    )


async def _issued_before(database: Database, request_id: str) -> InterlockError:
    row = await database.first(select(access_tokens.c.id).where(access_tokens.c.request_id == request_id))
    return InterlockError(
        Reason.REQUEST_ID_REUSED,
        f"This request has issued {row.id if row else 'a token'} before; its text was shown then and is not kept.",
        field="request_id",
        fix="Revoke that token and ask for another one with a new request_id.",
        metadata={"token_id": row.id} if row else {},
    )


async def get(database: Database, token_id: str) -> TokenRow:
    """One token, whatever has become of it. Raises TOKEN_NOT_FOUND."""
    row = await database.first(_TOKEN.where(access_tokens.c.id == token_id))
    if row is None:
        raise InterlockError(
            Reason.TOKEN_NOT_FOUND, f"There is no token {token_id}.", metadata={"token_id": token_id}
        )
    return TokenRow(*row)


async def find(database: Database, token_id: str, digest: bytes) -> Identity | None:
    """Whose this token is; None unless it works now."""
    row = await database.first(
        _TOKEN.where(
            access_tokens.c.id == token_id,
            access_tokens.c.digest == digest,
            access_tokens.c.revoked_at.is_(None),
            access_tokens.c.expires_at > func.now(),
        )
    )
    if row is None:
        return None
    token = TokenRow(*row)
    return Identity(
        token.subject,
        frozenset(token.roles),
        dict(token.scope),
        f"token:{token.id}",
        token.expires_at,
        token.owner,
    )


def _alike(subjects: Sequence[str]) -> Select[Any]:
    """Tokens that work now, of subjects or owners that are spelled like one of these but for case; at most 1,000."""
    lowered = [subject.lower() for subject in subjects]
    alike = or_(
        func.lower(access_tokens.c.subject).in_(lowered), func.lower(access_tokens.c.owner).in_(lowered)
    )
    query = _TOKEN.where(alike, access_tokens.c.revoked_at.is_(None), access_tokens.c.expires_at > func.now())
    return query.limit(1000)


async def page(
    database: Database, *, everything: bool, subject: str, before: str | None, limit: int
) -> list[TokenRow]:
    """Tokens, newest first."""
    query = _TOKEN.order_by(access_tokens.c.id.desc()).limit(limit)
    if not everything:
        query = query.where(access_tokens.c.revoked_at.is_(None), access_tokens.c.expires_at > func.now())
    if subject:
        query = query.where(access_tokens.c.subject == subject)
    if before is not None:
        query = query.where(access_tokens.c.id < before)
    return [TokenRow(*row) for row in await database.all(query)]


async def revoke(database: Database, token_id: str, by: str) -> TokenRow:
    """The token, revoked; who revoked it first stays. Raises TOKEN_NOT_FOUND."""
    await database.write(
        update(access_tokens)
        .where(access_tokens.c.id == token_id, access_tokens.c.revoked_at.is_(None))
        .values(revoked_at=func.now(), revoked_by=by)
    )
    return await get(database, token_id)


async def record(database: Database, denials: Sequence[tuple[Denial, int]]) -> None:
    """Adds refused calls."""
    await database.write(
        insert(access_denials).values(
            [
                {
                    "at": func.now(),
                    "subject": denial.subject,
                    "authentication": denial.authentication,
                    "rpc": denial.rpc,
                    "resource": denial.resource,
                    "message": denial.message,
                    "times": count,
                }
                for denial, count in denials
            ]
        )
    )


async def denied(database: Database, *, subject: str, before: int | None, limit: int) -> list[DenialRow]:
    """Refused calls, newest first."""
    query = _DENIAL.order_by(access_denials.c.id.desc()).limit(limit)
    if subject:
        query = query.where(access_denials.c.subject == subject)
    if before is not None:
        query = query.where(access_denials.c.id < before)
    return [DenialRow(*row) for row in await database.all(query)]
