"""Deciding in somebody else's place: giving that right, using it, taking it back."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.common.access.scope import covers
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity, current_identity, folded
from interlock.orchestrator.convert import access as convert
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.store import delegations
from interlock.v1 import access_pb2 as pb


async def delegate(deps: Deps, message: pb.DelegateRequest) -> pb.DelegateResponse:
    """Gives the caller's right to decide to somebody else for a time. Raises INVALID_ARGUMENT, REQUEST_ID_REUSED."""
    caller = current_identity()
    if folded(message.to_subject) == folded(caller.subject):
        raise InterlockError(
            Reason.INVALID_ARGUMENT, "Nobody needs a delegation from themselves.", field="to_subject"
        )
    now = deps.clock.now()
    row = delegations.DelegationRow(
        deps.ids.new("dlg"),
        caller.subject,
        message.to_subject,
        dict(caller.scope),
        message.note,
        caller.authentication,
        now,
        now + message.lifetime.ToTimedelta(),
        owner=caller.owner,
    )
    kept = await delegations.give(deps.database, row, message.request_id)
    return pb.DelegateResponse(delegation=convert.delegation(kept))


async def revoke(deps: Deps, message: pb.RevokeDelegationRequest) -> pb.RevokeDelegationResponse:
    """Takes it back. Raises DELEGATION_NOT_FOUND, PERMISSION_DENIED."""
    caller = current_identity()
    row = await delegations.get(deps.database, message.delegation_id)
    if row.from_subject != caller.subject and "admin" not in caller.roles:
        raise InterlockError(
            Reason.PERMISSION_DENIED,
            f"{row.id} is a delegation of {row.from_subject}.",
            fix="Ask them, or an admin, to revoke it.",
            metadata={"delegation_id": row.id, "subject": caller.subject},
        )
    gone = await delegations.revoke(deps.database, row.id, caller.subject)
    return pb.RevokeDelegationResponse(delegation=convert.delegation(gone))


async def used(
    deps: Deps, caller: Identity, on_behalf_of: str, labels: Mapping[str, str]
) -> delegations.DelegationRow:
    """The delegation by which the caller decides about a workspace with these labels. Raises PERMISSION_DENIED."""
    found = await delegations.in_force(deps.database, on_behalf_of, caller.subject)
    for row in found:
        if covers(row.scope, labels):
            return row
    raise InterlockError(
        Reason.PERMISSION_DENIED,
        f"{caller.subject} has no delegation from {on_behalf_of} that is in force{' here' if found else ''}.",
        field="decision.on_behalf_of",
        fix=f"Let {on_behalf_of} give one: `interlock delegation give {caller.subject} --for 8h`.",
        metadata={"subject": caller.subject, "on_behalf_of": on_behalf_of},
    )
