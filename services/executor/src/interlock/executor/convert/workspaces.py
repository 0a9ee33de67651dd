"""To the wire: workspaces, entries, snapshots; and the page tokens of their lists."""

from __future__ import annotations

import base64
import binascii
import json
import re

from interlock.common.clock import rfc3339
from interlock.common.errors import InterlockError, Reason
from interlock.executor.commands.forget_workspace import Forgotten
from interlock.executor.commands.restore import Restored
from interlock.executor.commands.revert import RevertedTree
from interlock.executor.convert.effects import change, diff_text, limits_named
from interlock.executor.convert.text import timestamp, wire
from interlock.executor.files.names import split_path
from interlock.executor.snapshots.diff import Diff
from interlock.executor.snapshots.previews import Differences
from interlock.executor.workspaces.model import Head, Node, Workspace
from interlock.v1 import executor_pb2, step_pb2, workspace_pb2

_TYPES = {
    "file": workspace_pb2.FILE_TYPE_REGULAR,
    "directory": workspace_pb2.FILE_TYPE_DIRECTORY,
    "symlink": workspace_pb2.FILE_TYPE_SYMLINK,
}
_CAUSES = {"rollback": "restore"}
_DIFF_BYTES = 4 << 20
_SHOWN_BYTES = 256 << 10
_TREE = re.compile("sha256:[0-9a-f]{64}")


def workspace(found: Workspace, source: bytes) -> workspace_pb2.Workspace:
    """A workspace; `source` is where it came from as the caller gave it."""
    return workspace_pb2.Workspace(
        workspace_id=found.id,
        path=wire(str(found.live)),
        source=workspace_pb2.WorkspaceSource.FromString(source) if source else None,
        head_tree=found.head,
        labels=dict(found.labels),
        created_at=timestamp(rfc3339(found.created)),
        entries=found.entries,
        content_bytes=found.content_bytes,
        limits=limits_named(found.limits) if found.limits else None,
        left_out=[workspace_pb2.LeftOut(path=path, what=what) for path, what in found.left_out.first],
        left_out_total=found.left_out.total,
    )


def entry(path: str, node: Node) -> workspace_pb2.FileEntry:
    """One entry of a tree."""
    return workspace_pb2.FileEntry(
        path=wire(path),
        type=_TYPES[node.kind],
        mode=node.mode,
        size=node.size if node.kind == "file" else 0,
        digest=node.digest,
        link_target=wire(node.target),
    )


def snapshot(head: Head) -> workspace_pb2.Snapshot:
    """One state of a workspace."""
    message = workspace_pb2.Snapshot(
        tree=head.tree, at=timestamp(rfc3339(head.at)), cause=_CAUSES.get(head.cause, head.cause)
    )
    parts = head.key.split("/")
    if head.cause == "publish" and len(parts) == 3:
        message.run_id, message.step = parts[0], int(parts[1])
    return message


def diff_response(old: str, new: str, diff: Diff) -> executor_pb2.DiffTreesResponse:
    """How two trees differ."""
    text, truncated = diff_text(diff, _DIFF_BYTES)
    return executor_pb2.DiffTreesResponse(
        from_tree=old,
        to_tree=new,
        changes=[change(file) for file in diff.files[:10_000]],
        changes_total=diff.total,
        diff=text,
        diff_truncated=truncated,
    )


def compare_response(found: Differences) -> executor_pb2.CompareEffectsResponse:
    """How two effects differ."""
    return executor_pb2.CompareEffectsResponse(
        workspace=_difference(found.workspace),
        effect=_difference(found.effect),
        dropped=_difference(found.dropped),
    )


def _difference(diff: Diff) -> step_pb2.Difference:
    text, truncated = diff_text(diff, _SHOWN_BYTES)
    return step_pb2.Difference(
        changes=[change(file) for file in diff.files[:1000]],
        changes_total=diff.total,
        diff=text,
        diff_truncated=truncated,
    )


def restored_payload(done: Restored) -> bytes:
    """The answer to RestoreTree, to be kept and sent."""
    answer = executor_pb2.RestoreTreeResponse(
        head_tree=done.head_tree,
        previous_tree=done.previous_tree,
        kept_paths=done.kept,
        kept_total=done.kept_count,
    )
    if done.diff is not None:
        answer.changes.extend(change(file) for file in done.diff.files[:1000])
    return answer.SerializeToString()


def reverted_payload(done: RevertedTree) -> bytes:
    """The answer to RevertTree, to be kept and sent."""
    answer = executor_pb2.RevertTreeResponse(
        head_tree=done.head_tree,
        previous_tree=done.previous_tree,
        merged=done.merged,
        kept_paths=done.kept,
        kept_total=done.kept_count,
    )
    if done.diff is not None:
        answer.changes.extend(change(file) for file in done.diff.files[:1000])
    return answer.SerializeToString()


def forgotten_payload(done: Forgotten) -> bytes:
    """The answer to ForgetWorkspace, to be kept and sent."""
    answer = executor_pb2.ForgetWorkspaceResponse(path=wire(done.path), directory_deleted=done.deleted)
    return answer.SerializeToString()


def files_token(tree: str, after: str) -> str:
    """Where a listing of a tree goes on. Paths can be longer than common page tokens allow."""
    return base64.urlsafe_b64encode(json.dumps([tree, after]).encode()).decode() if after else ""


def read_files_token(token: str) -> tuple[str, str]:
    """The tree and path of a token; two empty texts for none. Raises PAGE_TOKEN_INVALID."""
    if not token:
        return "", ""
    try:
        tree, after = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
        if not (isinstance(tree, str) and isinstance(after, str) and _TREE.fullmatch(tree)):
            raise ValueError
        split_path(after, field="page_token")
    except (ValueError, TypeError, RecursionError, binascii.Error, InterlockError):
        raise InterlockError(
            Reason.PAGE_TOKEN_INVALID, "The page token does not belong to this list.", field="page_token"
        ) from None
    return tree, after
