"""From directory listings to a Merkle tree, without recursion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from interlock.executor.files.names import parent_and_name
from interlock.executor.snapshots.encoding import encode_directory
from interlock.executor.snapshots.model import DIRECTORY, SYMLINK, Entry, Snapshot, Times
from interlock.executor.snapshots.store import Batch


@dataclass
class Listing:
    """One directory being built. Subdirectories are in `entries` with an empty id until `build` fills it in.

    `known` is an earlier listing of the same path, whose ids are taken over where nothing changed.
    """

    path: bytes
    entries: dict[bytes, Entry] = field(default_factory=dict)
    times: dict[bytes, Times] = field(default_factory=dict)
    known: Built | None = None


@dataclass(frozen=True)
class Built:
    """A finished directory: what is in it, and its ids."""

    entries: Mapping[bytes, Entry]
    times: Mapping[bytes, Times]
    snapshot: Snapshot


def build(listings: list[Listing], batch: Batch) -> dict[bytes, Built]:
    """Write the directory and times objects of `listings`, parents before children in the list.

    Returns every directory by path; `[b""].snapshot` is the whole.
    """
    by_path = {listing.path: listing for listing in listings}
    built: dict[bytes, Built] = {}
    for listing in reversed(listings):
        done = _finish(listing, batch)
        built[listing.path] = done
        if listing.path:
            parent, name = parent_and_name(listing.path)
            above = by_path[parent]
            above.entries[name] = Entry(DIRECTORY, above.entries[name].mode, done.snapshot.tree)
            above.times[name] = Times(above.times[name].mtime_ns, done.snapshot.times)
    return built


def _finish(listing: Listing, batch: Batch) -> Built:
    known = listing.known
    if known is not None and known.entries == listing.entries:
        tree = known.snapshot.tree
        if known.times == listing.times:
            return known
    else:
        if batch.screen is not None:
            links = ((n, e.value if e.kind == SYMLINK else b"") for n, e in listing.entries.items())
            batch.screen.directory(listing.path, links, encode_directory(listing.entries), batch.store)
        tree = batch.put_directory(listing.entries)
    times = batch.put_times(listing.times)
    return Built(listing.entries, listing.times, Snapshot(tree, times))
