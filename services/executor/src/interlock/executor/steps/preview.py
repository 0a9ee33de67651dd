"""The difference that an approver looks at."""

from __future__ import annotations

from interlock.executor.snapshots.diff import Diff, DiffLimits
from interlock.executor.workspaces.manager import Workspaces

DIFF_BYTES = 256 * 1024
LIMITS = DiffLimits(files=1000, file_bytes=DIFF_BYTES, total_bytes=DIFF_BYTES)


def preview(workspaces: Workspaces, workspace: str, base_tree: str, result_tree: str) -> Diff | None:
    """None when nothing changed. Blocks. Raises WORKSPACE_LIMIT_EXCEEDED, TREE_NOT_FOUND."""
    return None if base_tree == result_tree else workspaces.diff(workspace, base_tree, result_tree, LIMITS)
