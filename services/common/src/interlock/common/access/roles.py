"""The role that each rpc asks for, as its proto declares it."""

from __future__ import annotations

from typing import Final

from google.protobuf import descriptor_pool

from interlock.common.access.held import has_role
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity
from interlock.common.interceptors.base import Rpc
from interlock.v1 import role_pb2

PREFIX: Final = "ROLE_"


def required_role(rpc: Rpc) -> str:
    """`viewer`, `operator`, `approver`, `admin` or `service`; an rpc that declares none is for services only."""
    try:
        method = descriptor_pool.Default().FindMethodByName(f"{rpc.service}.{rpc.method}")
    except KeyError:
        return "service"
    role: role_pb2.Role.ValueType = method.GetOptions().Extensions[role_pb2.role]
    return role_name(role) if role else "service"


def role_name(role: role_pb2.Role.ValueType) -> str:
    """`approver` of ROLE_APPROVER."""
    return role_pb2.Role.Name(role).removeprefix(PREFIX).lower()


def role_value(name: str) -> role_pb2.Role.ValueType:
    """ROLE_APPROVER of `approver`."""
    return role_pb2.Role.Value(PREFIX + name.upper())


def check_role(identity: Identity, role: str, what: str) -> None:
    """Raises PERMISSION_DENIED unless the caller has the role; `what` names the call."""
    if has_role(identity, role):
        return
    held = ", ".join(sorted(identity.roles)) or "none"
    raise InterlockError(
        Reason.PERMISSION_DENIED,
        f"{identity.subject} may not call {what}: it asks for the role {role}, held is {held}.",
        fix=f"Use a token with the role {role}; `interlock whoami` shows what this one has.",
        metadata={"required_role": role, "subject": identity.subject},
    )
