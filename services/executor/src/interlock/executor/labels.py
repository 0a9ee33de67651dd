"""Labels of workspaces that only an admin may give: rules and scopes can then rest on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from interlock.common.access.held import has_role
from interlock.common.config import env_list
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity
from interlock.executor.engine import Engine

VARIABLE: Final = "INTERLOCK_ADMIN_LABELS"


def admin_labels(env: Mapping[str, str] | None = None) -> frozenset[str]:
    """The keys in INTERLOCK_ADMIN_LABELS, by commas."""
    return frozenset(env_list(VARIABLE, env=env))


async def check_labels(engine: Engine, keys: frozenset[str], identity: Identity, request: Any) -> None:
    """Raises PERMISSION_DENIED where a new workspace is to have a label that is not the caller's to give.

    A workspace of another one's tree may have the labels of that one.
    """
    given = {key: value for key, value in request.labels.items() if key in keys}
    if not given or has_role(identity, "admin"):
        return
    source = request.source.tree.workspace_id
    known = (await engine.call(engine.workspaces.get, source)).labels if source else {}
    for key, value in sorted(given.items()):
        if known.get(key) != value:
            raise InterlockError(
                Reason.PERMISSION_DENIED,
                f"Only an admin may give a workspace the label {key!r}.",
                field="labels",
                fix="Leave the label out, or have an admin make the workspace.",
                metadata={"label": key, "subject": identity.subject},
            )
