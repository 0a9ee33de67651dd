"""What a step did, as rules see it: everything but the list of changes follows from that list."""

from __future__ import annotations

from typing import Final

from interlock.v1 import rules_pb2

KINDS: Final = ("added", "modified", "deleted", "mode_changed", "renamed")
_EXECUTE: Final = 0o111


def summarise(observed: rules_pb2.PolicyObserved) -> None:
    """Fills in what follows from `changes`, in place; what is there already stays in front of it."""
    for change in observed.changes:
        _add(observed, change)
    observed.paths_total = max(observed.paths_total, len(observed.changes))


def _add(observed: rules_pb2.PolicyObserved, change: rules_pb2.PolicyChange) -> None:
    observed.paths.append(change.path)
    if change.new_type == "symlink":
        observed.links.append(change.path)
    if change.leads_out:
        observed.links_out.append(change.path)
    if change.kind == "deleted":
        observed.deleted.append(change.path)
        observed.bytes_removed += change.old_size
        return
    if change.kind == "renamed":
        observed.paths.append(change.old_path)
        observed.deleted.append(change.old_path)
    if change.kind in ("added", "renamed"):
        observed.added.append(change.path)
    if change.kind == "modified":
        observed.modified.append(change.path)
        observed.bytes_removed += change.old_size
    if change.kind in ("added", "modified"):
        observed.bytes_written += change.new_size
    replaced = change.old_type and change.new_type and change.old_type != change.new_type
    if replaced:
        observed.deleted.append(change.path)
    elif change.kind == "modified" and change.old_size and not change.new_size:
        observed.emptied.append(change.path)
    if change.kind != "added" and change.old_mode != change.new_mode:
        observed.mode_changed.append(change.path)
    file = change.new_type in ("", "file")
    if file and change.new_mode & _EXECUTE and not change.old_mode & _EXECUTE:
        observed.made_executable.append(change.path)
