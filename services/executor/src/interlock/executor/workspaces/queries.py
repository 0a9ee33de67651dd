"""Reading workspaces: files of a tree or of the live directory, listings, differences."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.names import clean_path, shown, split_path, to_text
from interlock.executor.files.read import FileContent, read_regular
from interlock.executor.snapshots.compare import find
from interlock.executor.snapshots.links import resolve
from interlock.executor.snapshots.model import DIRECTORY, FILE, Entry
from interlock.executor.snapshots.store import Store
from interlock.executor.workspaces.livedir import open_live
from interlock.executor.workspaces.model import Node, Workspace, node


class ListedPath(NamedTuple):
    """One path of a tree."""

    path: str
    node: Node


class Listing(NamedTuple):
    """A page of paths in tree order; `next_after` is empty on the last page."""

    paths: tuple[ListedPath, ...]
    next_after: str


def read_live(workspace: Workspace, path: str, offset: int, limit: int) -> FileContent:
    """A range of a file of the live directory. Raises as `files.read_regular`."""
    with open_live(workspace.live) as root:
        return read_regular(root, path, offset=offset, limit=limit)


def read_tree(store: Store, tree: bytes, path: str, offset: int, limit: int) -> FileContent:
    """A range of a file of a tree; symlinks that stay inside are followed, as in the live directory.

    Raises PATH_OUTSIDE_WORKSPACE, INVALID_ARGUMENT, PATH_NOT_FOUND, PATH_IS_DIRECTORY, TREE_NOT_FOUND.
    """
    if offset < 0 or limit < 0:
        raise InterlockError(Reason.INVALID_ARGUMENT, "A range cannot be negative.", field="offset")
    entry, own = resolve(store, tree, clean_path(path))
    if entry.kind == DIRECTORY:
        raise InterlockError(Reason.PATH_IS_DIRECTORY, f"{shown(path)} is a directory.", field="path")
    data, skipped = bytearray(), 0
    for chunk in store.chunks(entry.value):
        # Every chunk is drawn, so that a damaged object is noticed even where only its head is wanted.
        begin = max(offset - skipped, 0)
        skipped += len(chunk)
        if begin < len(chunk) and len(data) < limit:
            data += chunk[begin : begin + limit - len(data)]
    return FileContent(bytes(data), offset, store.size(entry.value), entry.mode, to_text(own))


def list_tree(store: Store, tree: bytes, prefix: str, after: str, limit: int) -> Listing:
    """Paths below the directory `prefix` (the whole tree when empty), at most `limit`, after the path `after`.

    Where `prefix` is no directory it is itself the one path. Parents come before children, names in byte order.
    Raises PATH_NOT_FOUND, TREE_NOT_FOUND, and as `split_path`.
    """
    top = clean_path(prefix, field="prefix", allow_root=True)
    start = split_path(after, field="after") if after else ()
    if top:
        entry = find(store, tree, top)
        if entry is None:
            raise InterlockError(Reason.PATH_NOT_FOUND, f"There is no {shown(prefix)}.", field="prefix")
        if entry.kind != DIRECTORY:
            return Listing(() if start else _listed(store, [((top,), entry)]), "")
        tree = entry.value
    paths = _from(store, tree, tuple(top.split(b"/")) if top else (), start)
    page = list(islice(paths, limit + 1))
    shown_paths = _listed(store, page[:limit])
    return Listing(shown_paths, shown_paths[-1].path if len(page) > limit and shown_paths else "")


def _from(
    store: Store, tree: bytes, top: tuple[bytes, ...], after: tuple[bytes, ...]
) -> Iterator[tuple[tuple[bytes, ...], Entry]]:
    """Paths after `after` in tree order; subtrees wholly before it are not opened."""
    stack = [(top, iter(store.directory_entries(tree).items()))]
    while stack:
        path, entries = stack[-1]
        item = next(entries, None)
        if item is None:
            stack.pop()
            continue
        here = (*path, item[0])
        if here > after:
            yield here, item[1]
        elif after[: len(here)] != here:
            continue
        if item[1].kind == DIRECTORY:
            stack.append((here, iter(store.directory_entries(item[1].value).items())))


def _listed(store: Store, page: list[tuple[tuple[bytes, ...], Entry]]) -> tuple[ListedPath, ...]:
    sizes = store.sizes(entry.value for _, entry in page if entry.kind == FILE)
    return tuple(ListedPath(to_text(b"/".join(path)), node(sizes, entry)) for path, entry in page)
