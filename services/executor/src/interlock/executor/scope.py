"""What callers whose token is limited to labels may touch here: workspaces that have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from interlock.common.access.scope import covers, outside, require
from interlock.common.identity import Identity
from interlock.common.interceptors.base import Rpc
from interlock.executor.engine import Engine

_ABOUT_NONE: Final = frozenset({"ListWorkspaces", "GetExecutorInfo"})
"""A list that leaves out what is not within the caller's scope, and what is known of the machine."""


class WorkspaceScope:
    """Looks at the labels of the workspaces that a request names."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def check(self, identity: Identity, rpc: Rpc, request: Any) -> None:
        """Raises PERMISSION_DENIED, WORKSPACE_NOT_FOUND."""
        if rpc.method in _ABOUT_NONE:
            return
        if rpc.method == "CreateWorkspace":
            self._check_new(identity, dict(request.labels))
        named = list(_named(rpc, request))
        if not named and rpc.method != "CreateWorkspace":
            raise outside(identity, f"{rpc.method} is about all of them, and it")
        for workspace_id in named:
            found = await self._engine.call(self._engine.workspaces.get, workspace_id)
            require(identity, found.labels, workspace_id)

    @staticmethod
    def _check_new(identity: Identity, labels: dict[str, str]) -> None:
        if not covers(identity.scope, labels):
            error = outside(identity, "the new one")
            error.fix = "Give the new workspace these labels: `interlock workspace create --label KEY=VALUE`."
            raise error


def _named(rpc: Rpc, request: Any) -> Iterator[str]:
    for name in ("workspace_id", "to_workspace_id"):
        if name in request.DESCRIPTOR.fields_by_name and getattr(request, name):
            yield getattr(request, name)
    if rpc.method == "CreateWorkspace" and request.source.tree.workspace_id:
        yield request.source.tree.workspace_id
