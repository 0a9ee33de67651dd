"""Which role a caller has: pure."""

from __future__ import annotations

from typing import Final

from interlock.common.identity import Identity

_INCLUDES: Final[dict[str, frozenset[str]]] = {
    "operator": frozenset({"viewer"}),
    "approver": frozenset({"viewer"}),
    "admin": frozenset({"viewer", "operator", "approver"}),
}


def has_role(identity: Identity, role: str) -> bool:
    """Whether the caller has the role, or one that includes it."""
    return role in identity.roles or any(role in _INCLUDES.get(held, ()) for held in identity.roles)
