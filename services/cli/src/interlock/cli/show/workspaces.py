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
from interlock.cli.text import enum_text, labels_text, short_digest, size_text, time_text
from interlock.v1.executor_pb2 import DiffTreesResponse
from interlock.v1.step_pb2 import ChangeKind, FileChange
from interlock.v1.workspace_pb2 import FileEntry, FileType, Snapshot, Workspace


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
    """`modified src/a.py (1.2 KiB → 1.3 KiB)`, `added lib`, safe for a terminal."""
    kind = enum_text(ChangeKind, change.kind).lower().replace("_", " ")
    name = f"{change.old_path} → {change.path}" if change.old_path else change.path
    details = ", ".join(_change_details(change))
    return escape(f"{kind} {name} ({details})" if details else f"{kind} {name}")


def _change_details(change: FileChange) -> Iterator[str]:
    if change.old_mode and change.new_mode:
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
            ("created", time_text(workspace.created_at)),
        ]
    )
