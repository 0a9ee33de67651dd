"""The effect of writing one file, computed in the store: no fork, no sandbox."""

from __future__ import annotations

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.names import join, shown, split_path
from interlock.executor.snapshots.builder import Listing, build
from interlock.executor.snapshots.model import (
    DIRECTORY,
    FILE,
    SYMLINK,
    UNKNOWN_TIME,
    Entry,
    Limits,
    Snapshot,
    Times,
)
from interlock.executor.snapshots.scan import too_deep
from interlock.executor.snapshots.store import Store


def edit(
    store: Store, base: Snapshot, path: str, content: bytes | None, mode: int | None, limits: Limits
) -> Snapshot:
    """The tree `base` with `content` at `path`; None deletes the file. Durable on return.

    Missing parents are made with mode 0755. `mode` None keeps the file's mode, 0644 for a new one.
    Raises PATH_OUTSIDE_WORKSPACE (also where a parent is a symlink), INVALID_ARGUMENT, PATH_IS_DIRECTORY,
    PATH_NOT_REGULAR (a symlink, or a file where a parent should be), PATH_NOT_FOUND (nothing to delete),
    FILE_TOO_LARGE.
    """
    parts = split_path(path)
    if len(parts) > limits.depth:
        raise too_deep(b"/".join(parts[:-1]), limits)
    if content is not None and len(content) > limits.file_bytes:
        raise InterlockError(
            Reason.FILE_TOO_LARGE,
            f"The new content of {shown(path)} has {len(content)} bytes; at most {limits.file_bytes}.",
            field="content",
            fix="Write less, or raise INTERLOCK_WORKSPACE_MAX_FILE_MIB and restart the executor.",
            metadata={
                "limit": "file_bytes",
                "allowed": str(limits.file_bytes),
                "measured": str(len(content)),
            },
        )
    listings = _open_parents(store, base, parts[:-1], path)
    entries, times = listings[-1].entries, listings[-1].times
    old = entries.get(parts[-1])
    _check_target(old, path, deleting=content is None)
    batch = store.batch()
    if content is None:
        del entries[parts[-1]]
        times.pop(parts[-1], None)
    else:
        kept = old.mode if old is not None else 0o644
        entries[parts[-1]] = Entry(FILE, kept if mode is None else mode & 0o777, batch.put(content))
        if entries[parts[-1]] != old:
            times.pop(parts[-1], None)  # the time at which it is published
    built = build(listings, batch)
    batch.commit()
    return built[b""].snapshot


def _open_parents(store: Store, base: Snapshot, parents: tuple[bytes, ...], path: str) -> list[Listing]:
    here: Snapshot | None = base
    listings = [_listing(store, b"", here)]
    for part in parents:
        above = listings[-1]
        entry = above.entries.get(part)
        if entry is None:
            above.entries[part] = Entry(DIRECTORY, 0o755, b"")
            above.times[part] = Times(UNKNOWN_TIME)
            here = None
        elif entry.kind == DIRECTORY:
            time = above.times.setdefault(part, Times(UNKNOWN_TIME))
            here = Snapshot(entry.value, time.child)
        else:
            raise _bad_parent(entry, path)
        listings.append(_listing(store, join(above.path, part), here))
    return listings


def _listing(store: Store, path: bytes, snapshot: Snapshot | None) -> Listing:
    if snapshot is None:
        return Listing(path)
    return Listing(path, dict(store.directory_entries(snapshot.tree)), dict(store.times(snapshot.times)))


def _check_target(old: Entry | None, path: str, *, deleting: bool) -> None:
    if old is None:
        if deleting:
            raise InterlockError(Reason.PATH_NOT_FOUND, f"There is no {shown(path)} to delete.", field="path")
    elif old.kind == DIRECTORY:
        raise InterlockError(Reason.PATH_IS_DIRECTORY, f"{shown(path)} is a directory.", field="path")
    elif old.kind == SYMLINK and not deleting:
        raise InterlockError(
            Reason.PATH_NOT_REGULAR,
            f"{shown(path)} is a symbolic link.",
            field="path",
            fix="Edit the file it points to.",
        )


def _bad_parent(entry: Entry, path: str) -> InterlockError:
    if entry.kind == SYMLINK:
        return InterlockError(
            Reason.PATH_OUTSIDE_WORKSPACE,
            f"{shown(path)} goes through a symbolic link.",
            field="path",
            fix="Name the file by its own path inside the workspace.",
        )
    return InterlockError(
        Reason.PATH_NOT_REGULAR, f"{shown(path)} has a file where a directory should be.", field="path"
    )
