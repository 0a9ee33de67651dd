"""What others did to a workspace since it was at a tree: changes that were noticed between its publications."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from interlock.common.digests import digest_bytes, digest_text
from interlock.executor.snapshots.compare import iterate
from interlock.executor.snapshots.merge import merge
from interlock.executor.snapshots.model import Snapshot
from interlock.executor.snapshots.store import Store
from interlock.executor.workspaces.model import Head
from interlock.executor.workspaces.registry import Registry

PREFIX = b"revert"
"""Begins what is kept of a revert's request; after it, for each change, the trees it led to and from."""


def moved_by_others(
    registry: Registry, workspace: str, target: bytes, expected: bytes, own: tuple[str, ...]
) -> bool:
    """Whether a publication moved the workspace on its way from one tree to the other whose key begins otherwise."""
    heads = registry.heads(workspace)
    end = _last(heads, expected)
    start = _last(heads[:end], target)
    return any(head.cause != "drift" and not head.key.startswith(own) for head in heads[start:end])


def undone_by_going_back(
    store: Store, registry: Registry, workspace: str, target: bytes, expected: bytes
) -> list[bytes]:
    """Paths that others changed between `target` and `expected`, and that going back would change again.

    Costs what was changed between them. What is not known any more (its trees were collected) is not told.
    """
    heads = registry.heads(workspace)
    end = _last(heads, expected)
    start = _last(heads[:end], target)
    others: set[bytes] = set()
    for before, after in pairwise(heads[max(start - 1, 0) : end]):
        for old, new in _by_others(store, registry, workspace, before, after):
            if store.has(old) and store.has(new):
                others |= {change.path for change in iterate(store, Snapshot(old), Snapshot(new))}
    if not others:
        return []
    changing = iterate(store, Snapshot(expected), Snapshot(target))
    return sorted(change.path for change in changing if change.path in others)


def _last(heads: list[Head], tree: bytes) -> int:
    """One more than where the workspace was at the tree last; 0 where it never was."""
    wanted = digest_text(tree)
    return max((index + 1 for index, head in enumerate(heads) if head.tree == wanted), default=0)


def _by_others(
    store: Store, registry: Registry, workspace: str, before: Head, after: Head
) -> Iterator[tuple[bytes, bytes]]:
    """The change from one tree to another that somebody else made between two heads."""
    if after.cause == "drift":
        yield digest_bytes(before.tree), digest_bytes(after.tree)
        return
    found = registry.publication(workspace, after.key)
    if found is None:
        return
    pair, head = found[0], found[1]
    asked = _reverted(store, pair, digest_bytes(before.tree)) if after.cause == "revert" else pair[32:64]
    if asked and asked != head:
        yield asked, head


def _reverted(store: Store, pair: bytes, head: bytes) -> bytes:
    """What a revert would have made of the head alone; empty where that is not known any more."""
    trees = pair.removeprefix(PREFIX)
    for at in range(0, len(trees), 64):
        known = trees[at : at + 32], trees[at + 32 : at + 64], head
        if not all(store.has(tree) for tree in known):
            return b""
        outcome = merge(store, *(Snapshot(tree) for tree in known), fine=True).snapshot
        if outcome is None:
            return b""
        head = outcome.tree
    return head
