"""Who is calling: the authenticated identity of the current rpc; and when two names are one person's."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from interlock.common.errors import InterlockError, Reason

PEOPLE_ROLES = frozenset({"viewer", "operator", "approver", "admin"})
ROLES = PEOPLE_ROLES | {"service"}
_NO_SCOPE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated caller.

    Attributes:
        subject: stable name, for example `local` or an OIDC subject; recorded with decisions.
        roles: what the caller may do; the shared token has all of them.
        scope: only what belongs to a workspace with all of these labels; empty = everything.
        authentication: how it proved who it is: `shared`, `token:<token id>` or `oidc:<issuer>`.
        expires_at: when that proof ends; None where it does not, or it is not known.
        owner: whose agent the subject is, who answers for what it does; empty = nobody's.
        groups: the provider's groups it is in, by the names that policies have for them.
    """

    subject: str
    roles: frozenset[str] = field(default_factory=frozenset)
    scope: Mapping[str, str] = field(default_factory=lambda: _NO_SCOPE)
    authentication: str = "shared"
    expires_at: datetime | None = None
    owner: str = ""
    groups: frozenset[str] = frozenset()


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


LOCAL = "local"
"""Who holds the shared token."""

PROVIDER = "provider:"
"""How a policy names a group of the OpenID provider among approvers: `provider:NAME`."""

_RESERVED = "planner"
_RESERVED_FORMS = ("group:", PROVIDER)


def folded(subject: str) -> str:
    """How a name is compared where two names could be one person: NFC and case folded.

    Only to refuse: what keeps people apart, and what counts them. A right is given to a name as it is spelled, so that
    nobody gets somebody else's by a name that merely looks like it.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", subject).casefold())


def is_reserved(subject: str) -> bool:
    """Whether a name is one that nobody can have: the planner's, and those of groups."""
    return folded(subject) == _RESERVED or folded(subject).startswith(_RESERVED_FORMS)
