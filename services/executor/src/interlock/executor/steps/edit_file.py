"""edit_file: one file's new content, given whole or as a patch. Computed in the store, without a fork."""

from __future__ import annotations

from interlock.common.errors import InterlockError, Reason
from interlock.common.patch import apply_patch, parse_patch
from interlock.executor.domain.model import EditFile
from interlock.executor.files.names import shown
from interlock.executor.sandbox.base import MIB
from interlock.executor.steps.base import Outcome
from interlock.executor.steps.preview import preview
from interlock.executor.steps.read_file import read_text
from interlock.executor.workspaces.manager import Workspaces

MOST_BYTES = 8 * MIB


def compute(workspaces: Workspaces, workspace: str, base_tree: str, action: EditFile) -> Outcome:
    """The tree with the edit. Blocks. Raises PATH_*, PATCH_*, FILE_*, WORKSPACE_LIMIT_EXCEEDED."""
    content = _new_content(workspaces, workspace, base_tree, action)
    capture = workspaces.edit(workspace, base_tree, action.path, content)
    return Outcome(
        base_tree, capture.result_tree, diff=preview(workspaces, workspace, base_tree, capture.result_tree)
    )


def _new_content(workspaces: Workspaces, workspace: str, base_tree: str, action: EditFile) -> bytes | None:
    if action.patch is None:
        return action.new_content
    patch = parse_patch(action.patch, action.path.removeprefix("./"))
    old = None if patch.creates else read_text(workspaces, workspace, base_tree, action.path, MOST_BYTES)
    if patch.creates and _exists(workspaces, workspace, base_tree, action.path):
        old = b""  # the patch then says that it exists already
    return apply_patch(patch, old, shown(action.path))


def _exists(workspaces: Workspaces, workspace: str, tree: str, path: str) -> bool:
    try:
        workspaces.read_file(workspace, path, tree=tree, limit=0)
    except InterlockError as error:
        if error.reason is Reason.PATH_NOT_FOUND:
            return False
        raise
    return True
