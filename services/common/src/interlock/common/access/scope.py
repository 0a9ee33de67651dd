"""Callers whose token is limited to labels: what they may touch.

A scope is a set of labels. Only what belongs to a workspace that has all of them is within it: the workspace, its
runs, and their approvals. A service that has no `Scope` is closed to such callers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity
from interlock.common.interceptors.base import Rpc


class Scope(Protocol):
    """Looks at each call of a caller that has a scope. Lists are not its concern: they leave out what is not within."""

    async def check(self, identity: Identity, rpc: Rpc, request: Any) -> None:
        """Raises PERMISSION_DENIED when the call is about something outside the caller's scope."""
        ...


def covers(scope: Mapping[str, str], labels: Mapping[str, Any]) -> bool:
    """Whether what has these labels is within the scope. An empty scope covers everything."""
    return all(labels.get(key) == value for key, value in scope.items())


def require(identity: Identity, labels: Mapping[str, Any], what: str) -> None:
    """Raises PERMISSION_DENIED unless `what`, whose workspace has these labels, is within the caller's scope."""
    if not covers(identity.scope, labels):
        raise outside(identity, what)


def outside(identity: Identity, what: str) -> InterlockError:
    """The refusal of something that is not within the caller's scope."""
    held = ", ".join(f"{key}={value}" for key, value in sorted(identity.scope.items()))
    return InterlockError(
        Reason.PERMISSION_DENIED,
        f"{identity.subject} may touch only what belongs to workspaces labelled {held}; {what} does not.",
        fix="Use a token without that limit, or a workspace with these labels.",
        metadata={"subject": identity.subject},
    )


class Closed:
    """No call at all."""

    async def check(self, identity: Identity, rpc: Rpc, request: Any) -> None:
        """Raises PERMISSION_DENIED."""
        raise outside(identity, f"{rpc.method} is about all of them, and it")


class Open:
    """Every call: whatever the service does for a caller, it does as that caller, where the scope is looked at."""

    async def check(self, identity: Identity, rpc: Rpc, request: Any) -> None:
        """Lets it pass."""
