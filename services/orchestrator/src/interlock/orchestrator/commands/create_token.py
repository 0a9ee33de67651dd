"""CreateToken: a new token, whose text is in the answer and nowhere else."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from interlock.common.access.issued import digest, new_text
from interlock.common.access.roles import role_name
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import current_identity
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
    )
    text = new_text(row.id)
    await access.issue(deps.database, row, digest(text), message.request_id)
    return pb.CreateTokenResponse(token=convert.token(row), text=text)


def _check(roles: list[str], scope: dict[str, str]) -> None:
    if "admin" in roles and scope:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            "A token with the role admin cannot be limited to labels: its holder could issue one that is not.",
            field="scope",
            fix="Leave the scope out, or take other roles.",
        )
