"""Whether rights by which something was given still stand: tokens and delegations, in their tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import func, select

from interlock.orchestrator.domain.standing import Right
from interlock.orchestrator.store import delegations
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.schema import access_tokens

_ISSUED: Final = "token:"


async def over(database: Database, rights: Iterable[Right]) -> dict[Right, str]:
    """Those that have ended, each with why. What was proved otherwise than by a token ends with its delegation only."""
    rights = [each for each in rights if each.delegation or each.authentication.startswith(_ISSUED)]
    if not rights:
        return {}
    tokens = {
        each.authentication.removeprefix(_ISSUED)
        for each in rights
        if each.authentication.startswith(_ISSUED)
    }
    working = await _working(database, tokens)
    given = await delegations.standing(database, {each.delegation for each in rights if each.delegation})
    found: dict[Right, str] = {}
    for each in rights:
        token = each.authentication.removeprefix(_ISSUED)
        if each.authentication.startswith(_ISSUED) and token not in working:
            found[each] = f"The token {token} by which it was given does not work any more."
        elif each.delegation and each.delegation not in given:
            found[each] = f"The delegation {each.delegation} by which it was given has ended."
    return found


async def _working(database: Database, ids: set[str]) -> set[str]:
    if not ids:
        return set()
    query = select(access_tokens.c.id).where(
        access_tokens.c.id.in_(ids),
        access_tokens.c.revoked_at.is_(None),
        access_tokens.c.expires_at > func.now(),
    )
    return {row[0] for row in await database.all(query)}
