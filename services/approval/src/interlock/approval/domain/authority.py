"""Who may decide. Today by role; quorum, separation from the requester and groups belong here."""

from __future__ import annotations

from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity

_DECIDERS = frozenset({"approver", "admin"})


def check_may_decide(identity: Identity) -> None:
    """Raises PERMISSION_DENIED unless the caller is an approver or an administrator."""
    if not identity.roles & _DECIDERS:
        raise InterlockError(
            Reason.PERMISSION_DENIED,
            f"{identity.subject} may look at approvals but not decide about them.",
            fix="Ask for the role approver.",
        )
