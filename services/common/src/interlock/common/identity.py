"""Who is calling: the authenticated identity of the current rpc."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field

from interlock.common.errors import InterlockError, Reason


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated caller.

    Attributes:
        subject: stable name, for example `local` or an OIDC subject; recorded with decisions.
        roles: what the caller may do; the local token has all of them.
    """

    subject: str
    roles: frozenset[str] = field(default_factory=frozenset)


ROLES = frozenset({"viewer", "operator", "approver", "admin"})

_current: ContextVar[Identity | None] = ContextVar("interlock_identity", default=None)


def current_identity() -> Identity:
    """The caller of the rpc being handled. Raises UNAUTHENTICATED outside an authenticated call."""
    identity = _current.get()
    if identity is None:
        raise InterlockError(Reason.UNAUTHENTICATED, "The call is not authenticated.")
    return identity


def set_identity(identity: Identity | None) -> None:
    """Set the caller for the current task; called by the auth interceptor once per rpc."""
    _current.set(identity)
