"""read_file: the content of one file of the head tree, whole or by lines. No effect."""

from __future__ import annotations

from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.lines import select_lines
from interlock.executor.domain.model import ReadFile
from interlock.executor.files.names import shown
from interlock.executor.files.read import FileContent
from interlock.executor.sandbox.base import MIB
from interlock.executor.sandbox.output import Capture
from interlock.executor.steps.base import Outcome
from interlock.executor.workspaces.manager import Workspaces

MOST_BYTES = 64 * MIB
KEPT_BYTES = 1 * MIB
_SNIFF = 8000


def compute(workspaces: Workspaces, workspace: str, base_tree: str, action: ReadFile) -> Outcome:
    """Read from the tree. Blocks. Raises PATH_*, FILE_TOO_LARGE, FILE_BINARY, INVALID_ARGUMENT (the line range)."""
    found = read_whole(workspaces, workspace, base_tree, action.path, MOST_BYTES)
    chosen = select_lines(found.data, action.start_line, action.end_line, shown(action.path))
    capture = Capture(2 * KEPT_BYTES if len(chosen) <= KEPT_BYTES else KEPT_BYTES)
    capture.feed(chosen)
    return Outcome(base_tree, base_tree, streams={"content": capture.result()}, read_path=found.path)


def read_text(workspaces: Workspaces, workspace: str, tree: str, path: str, most: int) -> bytes:
    """A whole text file of a tree. Raises PATH_*, FILE_TOO_LARGE, FILE_BINARY."""
    return read_whole(workspaces, workspace, tree, path, most).data


def read_whole(workspaces: Workspaces, workspace: str, tree: str, path: str, most: int) -> FileContent:
    """A whole text file of a tree, and where it is. Raises PATH_*, FILE_TOO_LARGE, FILE_BINARY."""
    found = workspaces.read_file(workspace, path, tree=tree, limit=most)
    if found.size > most:
        raise InterlockError(
            Reason.FILE_TOO_LARGE,
            f"{shown(path)} has {found.size} bytes; a step reads at most {most}.",
            field="path",
            fix="Look at it with a command, for example `head -c`.",
            metadata={"size": str(found.size), "limit": str(most)},
        )
    if b"\0" in found.data[:_SNIFF]:
        raise InterlockError(
            Reason.FILE_BINARY,
            f"{shown(path)} is not text.",
            field="path",
            fix="Look at it with a command, for example `xxd`.",
        )
    return found
