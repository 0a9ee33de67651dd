"""CreateToken: a new token, whose text is in the answer and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from interlock.common.access.issued import digest, new_text
from interlock.common.access.roles import role_name
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import current_identity, folded, is_reserved
from interlock.orchestrator.convert import access as convert
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.store import access
from interlock.v1 import access_pb2 as pb

DEFAULT_LIFETIME: Final = timedelta(days=90)


async def create_token(deps: Deps, message: pb.CreateTokenRequest) -> pb.CreateTokenResponse:
    """Issues it. Raises INVALID_ARGUMENT, PERMISSION_DENIED, REQUEST_ID_REUSED."""
    roles = sorted(role_name(role) for role in message.roles)
    scope = dict(message.scope)
    _check(roles, scope)
    _check_reserved(message.subject, message.owner)
    now = deps.clock.now()
    lifetime = message.lifetime.ToTimedelta() if message.HasField("lifetime") else DEFAULT_LIFETIME
    row = access.TokenRow(
        deps.ids.new("tok"),
        message.subject,
        roles,
        scope,
        message.note,
        current_identity().subject,
        now,
        now + lifetime,
        owner=message.owner,
    )
    text = new_text(row.id)
    await access.issue(deps.database, row, digest(text), message.request_id, _check_names)
    return pb.CreateTokenResponse(token=convert.token(row), text=text)


def _check(roles: list[str], scope: dict[str, str]) -> None:
    if "admin" in roles and scope:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            "A token with the role admin cannot be limited to labels: its holder could issue one that is not.",
            field="scope",
            fix="Leave the scope out, or take other roles.",
        )


def _check_reserved(subject: str, owner: str) -> None:
    """Refuses names that nobody can have, and who would be their own agent."""
    for field, name in (("subject", subject), ("owner", owner)):
        if is_reserved(name):
            raise _bad(field, f"{name!r} is a name that nobody can have.", "Choose another name.")
    if owner and folded(owner) == folded(subject):
        raise _bad(
            "owner", f"{subject} cannot be the agent of {owner}.", "Name the person who answers for it."
        )


def _check_names(new: access.TokenRow, known: Sequence[access.TokenRow]) -> None:
    """Refuses names that look like one of a token that works, and owners that would not be clear."""
    subject, owner = new.subject, new.owner
    for row in known:
        for field, name in (("subject", subject), ("owner", owner)):
            alike = [
                each for each in (row.subject, row.owner) if folded(each) == folded(name) and each != name
            ]
            if name and alike:
                why = f"{name} differs from {alike[0]} of {row.id} by case alone, and would count as the same person."
                raise _bad(field, why, f"Write {alike[0]}, or choose another name.")
        if row.subject == subject and row.owner != owner:
            whose = f"an agent of {row.owner}" if row.owner else "nobody's agent"
            why = f"{subject} is {whose} by {row.id}."
            raise _bad("owner", why, f"Name the same owner, or revoke {row.id} first.")
        if (owner and row.subject == owner and row.owner) or (row.owner == subject and owner):
            raise _bad(
                "owner", f"{row.subject} is an agent itself ({row.id}).", "Name the person behind both."
            )


def _bad(field: str, why: str, fix: str) -> InterlockError:
    return InterlockError(Reason.INVALID_ARGUMENT, why, field=field, fix=fix)
