"""What was published in a workspace, or in one that it was forked from before it was.

A fork begins with effects in its tree that were published elsewhere. Taking one out is undoing what was published,
not publishing anything unasked, as long as it had been published when the fork was made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from interlock.common.clock import rfc3339
from interlock.common.errors import InterlockError, Reason
from interlock.executor.workspaces.registry import Registry

_GENERATIONS: Final = 100
_SOURCE = re.compile("tree sha256:[0-9a-f]{64} of (.+)")


def source_of_fork(tree: str, workspace: str) -> str:
    """How a fork's source is entered."""
    return f"tree {tree} of {workspace}"


def publisher(registry: Registry, workspace: str, base: bytes, result: bytes) -> str | None:
    """The workspace, of this one and those before it, in which what leads from `base` to `result` was published."""
    for each, until in _line(registry, workspace):
        if registry.was_published(each, base + result, until):
            return each
    return None


def _line(registry: Registry, workspace: str) -> Iterator[tuple[str, str]]:
    """Workspaces, nearest first, and until when what was published there counts (empty: until now)."""
    until = ""
    for _ in range(_GENERATIONS):
        yield workspace, until
        try:
            here = registry.get(workspace)
        except InterlockError as error:
            if error.reason is not Reason.WORKSPACE_NOT_FOUND:
                raise
            return
        found = _SOURCE.fullmatch(here.source)
        if found is None:
            return
        made = rfc3339(here.created)
        workspace, until = found[1], min(until, made) if until else made
