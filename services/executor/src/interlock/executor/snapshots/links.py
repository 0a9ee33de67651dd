"""Symbolic links of a tree: what is at the end of a path, and which lead out of the workspace."""

from __future__ import annotations

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.names import shown, split_path
from interlock.executor.snapshots.compare import find
from interlock.executor.snapshots.model import DIRECTORY, FILE, SYMLINK, Entry
from interlock.executor.snapshots.store import Store

_MAX_LINKS = 40


def resolve(store: Store, tree: bytes, path: bytes) -> tuple[Entry, bytes]:
    """The entry at a path, symlinks followed within the tree, and its own path.

    Raises PATH_NOT_FOUND, PATH_OUTSIDE_WORKSPACE.
    """
    done: list[bytes] = []
    waiting = list(reversed(split_path(path)))
    links = 0
    entry = Entry(DIRECTORY, 0o755, tree)
    while waiting:
        part = waiting.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not done:
                raise _outside(path)
            done.pop()
        else:
            done.append(part)
        found = find(store, tree, b"/".join(done)) if done else Entry(DIRECTORY, 0o755, tree)
        if found is None or (waiting and found.kind == FILE):
            raise InterlockError(
                Reason.PATH_NOT_FOUND, f"There is no {shown(path)} in the workspace.", field="path"
            )
        if found.kind == SYMLINK:
            links += 1
            if links > _MAX_LINKS or found.value.startswith(b"/"):
                raise _outside(path)
            done.pop()
            waiting.extend(reversed(found.value.split(b"/")))
            continue
        entry = found
    return entry, b"/".join(done)


def leads_out(store: Store, tree: bytes, path: bytes, target: bytes) -> bool:
    """Whether the link at a path of a tree leads out of it: by its words, or through other links of the tree.

    One that leads nowhere yet counts by its words alone: what will be there is nothing of this tree.
    """
    if target.startswith(b"/") or _climbs_out(path, target):
        return True
    try:
        resolve(store, tree, path)
    except InterlockError as error:
        return error.reason is Reason.PATH_OUTSIDE_WORKSPACE
    return False


def _climbs_out(path: bytes, target: bytes) -> bool:
    depth = path.count(b"/")
    for part in target.split(b"/"):
        if part == b"..":
            depth -= 1
        elif part not in (b"", b"."):
            depth += 1
        if depth < 0:
            return True
    return False


def _outside(path: bytes) -> InterlockError:
    return InterlockError(
        Reason.PATH_OUTSIDE_WORKSPACE,
        f"{shown(path)} leads out of the workspace through a symbolic link.",
        field="path",
        fix="Name the file by its own path inside the workspace.",
    )
