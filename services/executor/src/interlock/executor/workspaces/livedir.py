"""Which directories may become a workspace, and opening those that did."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.names import shown
from interlock.executor.files.root import Root

_KERNEL: Final = tuple(Path(p) for p in ("/proc", "/sys"))


def check_directory(path: Path, closed: Sequence[Path], taken: list[tuple[str, Path]]) -> Path:
    """The canonical form of an existing directory that may become a workspace.

    Raises WORKSPACE_SOURCE_INVALID: relative, absent, not a directory, a symlink, `/`, a kernel file system, or
    overlapping one of the `closed` directories, which are Interlock's own; WORKSPACE_EXISTS: overlapping another
    workspace's directory.
    """
    if not path.is_absolute():
        raise _invalid(path, "is not an absolute path")
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        raise _invalid(path, "does not exist or cannot be reached") from None
    if stat.S_ISLNK(status.st_mode):
        raise _invalid(path, "is a symbolic link; give the directory it points to")
    if not stat.S_ISDIR(status.st_mode):
        raise _invalid(path, "is not a directory")
    return check_place(path, closed, taken)


def check_place(path: Path, closed: Sequence[Path], taken: list[tuple[str, Path]]) -> Path:
    """`check_directory` for a path where nothing needs to exist yet."""
    if not path.is_absolute():
        raise _invalid(path, "is not an absolute path")
    real = Path(os.path.realpath(path))
    if real in (Path("/"), Path("/dev")) or any(_overlap(real, kernel) for kernel in _KERNEL):
        raise _invalid(path, "is not a directory that a workspace can be in")
    for own in closed:
        if _overlap(real, Path(os.path.realpath(own))):
            raise _invalid(path, f"overlaps {shown(str(own))}, where Interlock keeps its own files")
    for workspace, live in taken:
        if _overlap(real, live):
            raise InterlockError(
                Reason.WORKSPACE_EXISTS,
                f"{shown(str(path))} overlaps {shown(str(live))}, the directory of workspace {workspace}.",
                field="source",
                fix=f"Use workspace {workspace}, or a directory neither inside nor around it.",
                metadata={"workspace": workspace},
            )
    return real


def open_live(path: Path) -> Root:
    """A workspace's live directory, open. Raises WORKSPACE_SOURCE_INVALID where it is gone.

    The path was canonical when the workspace was made. A symlink on the way to it has been put there since, and
    would let whoever may rename a parent have the executor read and write another directory with its rights.
    """
    try:
        return Root.open_exact(path)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise InterlockError(
            Reason.WORKSPACE_SOURCE_INVALID,
            f"The workspace's directory {shown(str(path))} cannot be opened: {why}.",
            fix="Put the directory back where it was, or make another a workspace: `interlock workspace create DIR`.",
        ) from None


def _overlap(a: Path, b: Path) -> bool:
    return a == b or a in b.parents or b in a.parents


def _invalid(path: Path, why: str) -> InterlockError:
    return InterlockError(
        Reason.WORKSPACE_SOURCE_INVALID, f"{shown(str(path))} {why}.", field="source", fix=""
    )
