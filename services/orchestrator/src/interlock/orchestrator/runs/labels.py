"""Labels of workspaces. They never change, so each is read once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.readers import others


class WorkspaceLabels:
    """A cache in front of the workspaces' table.

    Args:
        most: workspaces kept; the least recently used go first.
    """

    def __init__(self, database: Database, *, most: int = 10_000) -> None:
        self._database = database
        self._most = most
        self._known: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    def learn(self, workspace_id: str, labels: Mapping[str, Any]) -> None:
        """What its executor says of a workspace that a durable run is on."""
        self._known[workspace_id] = dict(labels)
        self._known.move_to_end(workspace_id)
        while len(self._known) > self._most:
            self._known.popitem(last=False)

    async def of(self, workspace_id: str) -> Mapping[str, Any]:
        """Of a workspace that a durable run is on."""
        known = self._known.get(workspace_id)
        if known is not None:
            self._known.move_to_end(workspace_id)
            return known
        found = await others.workspace_labels(self._database, workspace_id)
        self.learn(workspace_id, found)
        return found
