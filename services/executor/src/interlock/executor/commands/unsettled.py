"""A publication that has begun is finished or taken back, whatever its caller is told: so nothing final is told."""

from __future__ import annotations

from interlock.common.errors import InterlockError, Reason
from interlock.executor.engine import Engine


async def while_unsettled(
    engine: Engine, workspace: str, key: str, error: Exception
) -> InterlockError | None:
    """What to raise in place of `error`: UNAVAILABLE, while the publication named `key` is not settled. Else None.

    Whoever repeats the call gets its real end, as soon as there is one. A quarantine is one: it is only ever taken back
    from there.
    """
    if await engine.call(engine.workspaces.unsettled, workspace) != key:
        return None
    if isinstance(error, InterlockError):
        if error.reason is Reason.WORKSPACE_QUARANTINED:
            return None
        if error.reason is Reason.UNAVAILABLE:
            return error
        why, fix = error.message, error.fix
    else:
        why, fix = str(error), ""
    return InterlockError(
        Reason.UNAVAILABLE,
        f"The publication has begun and can be neither finished nor taken back yet: {why}",
        fix=fix or "Look at the workspace's directory and the disk.",
        metadata={"workspace": workspace},
    )
