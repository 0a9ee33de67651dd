"""Labels that only an admin may give a workspace."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity
from interlock.executor.labels import admin_labels, check_labels
from interlock.v1 import executor_pb2 as pb
from interlock.v1 import workspace_pb2 as w

KEYS = admin_labels({"INTERLOCK_ADMIN_LABELS": "env,tier"})
BOB = Identity("bob", frozenset({"operator"}))
ANN = Identity("ann", frozenset({"admin"}))


class Workspaces:
    """An engine that knows one workspace."""

    workspaces = SimpleNamespace(get="get")

    async def call(self, what: Any, workspace_id: str) -> Any:
        assert (what, workspace_id) == ("get", "ws-1")
        return SimpleNamespace(labels={"env": "prod", "team": "web"})


async def refused(who: Identity, labels: dict[str, str], of: str = "") -> bool:
    source = w.WorkspaceSource(tree=w.TreeSource(workspace_id=of)) if of else w.WorkspaceSource()
    request = pb.CreateWorkspaceRequest(labels=labels, source=source)
    try:
        await check_labels(cast("Any", Workspaces()), KEYS, who, request)
    except InterlockError as error:
        return error.reason is Reason.PERMISSION_DENIED
    return False


async def test_an_operator_gives_other_labels_alone() -> None:
    assert not await refused(BOB, {"team": "web"})
    assert await refused(BOB, {"env": "test"})
    assert not await refused(ANN, {"env": "test", "tier": "1"})


@pytest.mark.parametrize(
    ("labels", "no"), [({"env": "prod"}, False), ({"env": "test"}, True), ({"tier": "1"}, True)]
)
async def test_the_workspace_of_anothers_tree_has_them_from_there(labels: dict[str, str], no: bool) -> None:
    assert await refused(BOB, labels, "ws-1") is no
