"""What is stored, and what a collection removed."""

from __future__ import annotations

from interlock.cli.output import show_one, write_fields, write_table
from interlock.cli.settings import Settings
from interlock.cli.text import size_text
from interlock.v1.executor_pb2 import CollectGarbageResponse, GetStorageResponse, WorkspaceStorage

_HEADERS = ("WORKSPACE", "LIVE", "BASE", "FORKS", "STORE", "SHARED", "PREVIEWS", "TREES", "PATH")
_NO_HISTORY = (
    "that nothing refers to; what is younger than the grace period stays"
    " (`interlock workspace gc --dry-run` counts history past retention, too)"
)


def show_storage(settings: Settings, found: GetStorageResponse) -> None:
    """Workspaces, then totals."""

    def people() -> None:
        if found.workspaces:
            write_table(_HEADERS, [_row(each) for each in found.workspaces])
            print()
        cap = size_text(found.store_max_bytes) if found.store_max_bytes else "no cap"
        write_fields(
            [
                ("store", f"{size_text(found.store_bytes)} of {cap}, {found.objects} objects"),
                ("content", f"{size_text(found.content_bytes)} before compression"),
                ("records", size_text(found.records_bytes)),
                ("gc would free", f"at most {size_text(found.unreferenced_bytes)} {_NO_HISTORY}"),
                ("disk", f"{size_text(found.disk_free_bytes)} free"),
            ]
        )

    show_one(settings, found, people)


def show_collected(settings: Settings, done: CollectGarbageResponse) -> None:
    """What went, or would go."""

    def people() -> None:
        would = "would be " if done.dry_run else ""
        write_fields(
            [
                ("objects", f"{done.objects_removed} {would}removed, {done.objects_kept} kept"),
                ("store", f"{size_text(done.bytes_freed)} {would}freed, {size_text(done.bytes_kept)} kept"),
                ("trees", f"{done.trees_removed} {would}removed"),
                ("history", f"{done.history_removed} entries {would}removed"),
                ("effects", f"{done.effects_removed} records {would}removed"),
            ]
        )

    show_one(settings, done, people)


def _row(use: WorkspaceStorage) -> tuple[str, ...]:
    return (
        use.workspace_id,
        size_text(use.live_bytes),
        size_text(use.base_bytes),
        size_text(use.fork_bytes),
        size_text(use.exclusive_bytes),
        size_text(use.shared_bytes),
        str(use.previews_pending),
        str(use.trees_kept),
        use.path,
    )
