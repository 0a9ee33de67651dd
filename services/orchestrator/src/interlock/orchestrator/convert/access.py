"""Tokens, delegations and refused calls as messages."""

from __future__ import annotations

from interlock.common.access.denials import Denial
from interlock.common.access.roles import role_value
from interlock.orchestrator.store.access import DenialRow, TokenRow
from interlock.orchestrator.store.delegations import DelegationRow
from interlock.v1 import access_pb2


def token(row: TokenRow) -> access_pb2.Token:
    """The message about an issued token."""
    message = access_pb2.Token(
        token_id=row.id,
        subject=row.subject,
        roles=sorted(role_value(role) for role in row.roles),
        scope=dict(row.scope),
        note=row.note,
        created_by=row.created_by,
        revoked_by=row.revoked_by,
        owner=row.owner,
    )
    message.created_at.FromDatetime(row.created_at)
    message.expires_at.FromDatetime(row.expires_at)
    if row.revoked_at is not None:
        message.revoked_at.FromDatetime(row.revoked_at)
    return message


def delegation(row: DelegationRow) -> access_pb2.Delegation:
    """The message about a delegation."""
    message = access_pb2.Delegation(
        delegation_id=row.id,
        from_subject=row.from_subject,
        to_subject=row.to_subject,
        scope=dict(row.scope),
        note=row.note,
        authentication=row.authentication,
        revoked_by=row.revoked_by,
    )
    message.created_at.FromDatetime(row.created_at)
    message.expires_at.FromDatetime(row.expires_at)
    if row.revoked_at is not None:
        message.revoked_at.FromDatetime(row.revoked_at)
    return message


def denial(row: DenialRow) -> access_pb2.Denial:
    """The message about a refused call."""
    message = access_pb2.Denial(
        subject=row.subject,
        authentication=row.authentication,
        rpc=row.rpc,
        resource=row.resource,
        message=row.message,
        count=row.times,
    )
    message.at.FromDatetime(row.at)
    return message


def reported(message: access_pb2.Denial) -> tuple[Denial, int]:
    """What another service reports."""
    entry = Denial(message.subject, message.authentication, message.rpc, message.resource, message.message)
    return entry, max(1, message.count)
