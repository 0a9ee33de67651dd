"""Workspaces, trees and diffs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from interlock.cli.limits import limits_text
from interlock.cli.output import (
    message_dict,
    progress,
    show_list,
    show_one,
    write_fields,
    write_json,
    write_table,
)
from interlock.cli.safe import escape
from interlock.cli.settings import Output, Settings
from interlock.cli.show.diff import print_diff
from interlock.cli.text import counted, enum_text, labels_text, short_digest, size_text, time_text
from interlock.v1.executor_pb2 import DiffTreesResponse
from interlock.v1.orchestrator_pb2 import RemoveWorkspaceResponse
from interlock.v1.step_pb2 import ChangeKind, EntryType, FileChange
from interlock.v1.workspace_pb2 import FileEntry, FileType, Snapshot, Workspace

_LEFT_OUT = 10
"""Paths that were left out, named to people; the JSON output has more."""


def show_workspace(settings: Settings, workspace: Workspace) -> None:
    """One workspace."""
    show_one(settings, workspace, lambda: _fields(workspace))


def list_workspaces(settings: Settings, workspaces: Sequence[Workspace]) -> None:
    """All of them."""
    show_list(
        settings,
        "workspaces",
        workspaces,
        ("WORKSPACE", "HEAD", "FILES", "SIZE", "PATH"),
        lambda w: (
            w.workspace_id,
            short_digest(w.head_tree),
            str(w.entries),
            size_text(w.content_bytes),
            w.path,
        ),
        empty="No workspaces yet; `interlock workspace create DIR` makes one.",
    )


def show_removed(settings: Settings, done: RemoveWorkspaceResponse) -> None:
    """That it is gone, and what became of its directory."""

    def people() -> None:
        became = "was deleted" if done.directory_deleted else "stays as it is"
        print(escape(f"Removed {done.workspace_id}, with {counted(done.runs, 'run')}. {done.path} {became}."))

    show_one(settings, done, people)


def show_history(settings: Settings, workspace: Workspace, snapshots: Sequence[Snapshot]) -> None:
    """A workspace with the trees it has been at."""
    if settings.output is not Output.TABLE:
        both = {
            "workspace": message_dict(workspace),
            "snapshots": [message_dict(each) for each in snapshots],
        }
        write_json(both, settings.output)
        return
    _fields(workspace)
    print()
    rows = [
        (short_digest(s.tree), time_text(s.at), s.cause, f"{s.run_id} step {s.step}" if s.run_id else "")
        for s in snapshots
    ]
    write_table(("TREE", "AT", "CAUSE", "BY"), rows)


def show_diff(settings: Settings, diff: DiffTreesResponse) -> None:
    """How two trees differ."""

    def people() -> None:
        progress(
            f"{short_digest(diff.from_tree)} → {short_digest(diff.to_tree)}, {diff.changes_total} changed"
        )
        print_diff(diff.diff, sys.stdout)
        if diff.diff_truncated:
            progress("The diff is cut; not everything is shown.")

    show_one(settings, diff, people)


def list_files(settings: Settings, entries: Sequence[FileEntry]) -> None:
    """Entries of a tree."""
    show_list(settings, "entries", entries, ("MODE", "SIZE", "TYPE", "PATH"), _entry, empty="No files.")


def change_line(change: FileChange) -> str:
    """`modified a.py (1.2 KiB → 1.3 KiB)`, `added directory lib`, `replaced a (file → link)`, safe for a terminal."""
    name = f"{change.old_path} → {change.path}" if change.old_path else change.path
    what = name if is_replaced(change) or not _type(change) else f"{_type(change)} {name}"
    details = ", ".join(_change_details(change))
    return escape(f"{_did(change)} {what} ({details})" if details else f"{_did(change)} {what}")


def is_replaced(change: FileChange) -> bool:
    """Whether one kind of thing took the place of another; previews of early releases do not say."""
    return bool(change.old_type and change.new_type and change.old_type != change.new_type)


_TYPES = {
    EntryType.ENTRY_TYPE_FILE: "file",
    EntryType.ENTRY_TYPE_DIRECTORY: "directory",
    EntryType.ENTRY_TYPE_SYMLINK: "link",
}


def _did(change: FileChange) -> str:
    return "replaced" if is_replaced(change) else enum_text(ChangeKind, change.kind).lower().replace("_", " ")


def _type(change: FileChange) -> str:
    """What it is, where it is no file."""
    known = change.new_type or change.old_type
    return "" if known == EntryType.ENTRY_TYPE_FILE else _TYPES.get(known, "")


def _change_details(change: FileChange) -> Iterator[str]:
    if is_replaced(change):
        yield f"{_TYPES.get(change.old_type, '?')} → {_TYPES.get(change.new_type, '?')}"
    elif (change.old_type and change.new_type) or (change.old_mode and change.new_mode):
        if change.old_size != change.new_size:
            yield f"{size_text(change.old_size)} → {size_text(change.new_size)}"
        if change.old_mode != change.new_mode:
            yield f"mode {change.old_mode:o} → {change.new_mode:o}"
    elif change.old_size or change.new_size:
        yield size_text(change.old_size or change.new_size)
    if change.binary:
        yield "binary"


def _entry(entry: FileEntry) -> tuple[str, ...]:
    name = f"{entry.path} → {entry.link_target}" if entry.link_target else entry.path
    size = str(entry.size) if entry.type == FileType.FILE_TYPE_REGULAR else ""
    return f"{entry.mode:o}", size, enum_text(FileType, entry.type).lower(), name


def _fields(workspace: Workspace) -> None:
    write_fields(
        [
            ("workspace", workspace.workspace_id),
            ("path", workspace.path),
            ("head", workspace.head_tree),
            ("content", f"{workspace.entries} entries, {size_text(workspace.content_bytes)}"),
            ("labels", labels_text(workspace.labels.items())),
            ("limits", limits_text(workspace.limits) or "the executor's"),
            ("left out", _left_out(workspace)),
            ("created", time_text(workspace.created_at)),
        ]
    )


def _left_out(workspace: Workspace) -> str:
    """What of the directory is not in the workspace: `2, which no tree holds: a/sock (socket), pipe (fifo)`."""
    if not workspace.left_out_total:
        return ""
    first = workspace.left_out[:_LEFT_OUT]
    named = ", ".join(f"{each.path} ({each.what})" for each in first)
    more = workspace.left_out_total - len(first)
    return f"{workspace.left_out_total}, which no tree holds: {named}" + (f" and {more} more" if more else "")
