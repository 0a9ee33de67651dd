"""Callers and refusals between their messages and their types."""

from __future__ import annotations

from datetime import UTC

from interlock.common.access.denials import Denial
from interlock.common.access.roles import role_name, role_value
from interlock.common.identity import Identity
from interlock.v1 import access_pb2


def caller(identity: Identity) -> access_pb2.Caller:
    """The message about a caller."""
    message = access_pb2.Caller(
        subject=identity.subject,
        roles=sorted(role_value(role) for role in identity.roles),
        scope=dict(identity.scope),
        authentication=identity.authentication,
        owner=identity.owner,
        groups=sorted(identity.groups),
    )
    if identity.expires_at is not None:
        message.expires_at.FromDatetime(identity.expires_at)
    return message


def identity(message: access_pb2.Caller) -> Identity:
    """The caller of a message."""
    return Identity(
        subject=message.subject,
        roles=frozenset(role_name(role) for role in message.roles),
        scope=dict(message.scope),
        authentication=message.authentication,
        expires_at=message.expires_at.ToDatetime(UTC) if message.HasField("expires_at") else None,
        owner=message.owner,
        groups=frozenset(message.groups),
    )


def denial(entry: Denial, count: int) -> access_pb2.Denial:
    """The message about a refusal."""
    return access_pb2.Denial(
        subject=entry.subject,
        authentication=entry.authentication,
        rpc=entry.rpc,
        resource=entry.resource,
        message=entry.message,
        count=count,
    )
