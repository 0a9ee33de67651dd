"""Taking out of the store what nothing reaches, a bounded transaction at a time."""

from __future__ import annotations

import time
from collections.abc import Set
from typing import Final, NamedTuple

from interlock.executor.files import failpoints
from interlock.executor.snapshots.store import Store

PAGE: Final = 1000
"""Objects deleted in one transaction: writers wait for no longer than that takes."""

_STRAY_SECONDS: Final = 3600.0


class Swept(NamedTuple):
    """Objects and their bytes as stored: gone (or to go), and staying."""

    removed: int
    freed: int
    kept: int
    bytes_kept: int


def sweep(store: Store, marked: Set[bytes], *, before: float, dry_run: bool) -> Swept:
    """Delete every object that is not marked, that no session holds, and that was there `before` (Unix time).

    The caller has called `begin_collection` before it read what `marked` comes from. Killed at any instant, the
    store is right: each object is there or not, and the next sweep takes what this one left.
    """
    removed = freed = kept = bytes_kept = 0
    after = b""
    while page := store.page(after, PAGE):
        after = page[-1].id
        candidates = {each.id for each in page if each.id not in marked and each.added <= before}
        gone = set(store.sessions.unused(candidates))
        if gone and not dry_run:
            failpoints.hit("collect.page")
            gone = {each.id for each in store.remove(gone)}
        for each in page:
            if each.id in gone:
                removed, freed = removed + 1, freed + each.stored
            else:
                kept, bytes_kept = kept + 1, bytes_kept + each.stored
    if not dry_run:
        freed += store.remove_strays(store.strays(time.time() - _STRAY_SECONDS))
        failpoints.hit("collect.swept")
        if removed:
            store.shrink()
    return Swept(removed, freed, kept, bytes_kept)
