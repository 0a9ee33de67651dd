"""One line per changed path, as people read it."""

from __future__ import annotations

import pytest

from interlock.cli.show.workspaces import change_line
from interlock.v1.step_pb2 import ChangeKind, EntryType, FileChange

FILE, DIRECTORY, LINK = (
    EntryType.ENTRY_TYPE_FILE,
    EntryType.ENTRY_TYPE_DIRECTORY,
    EntryType.ENTRY_TYPE_SYMLINK,
)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (FileChange(path="lib", kind=ChangeKind.CHANGE_KIND_ADDED, new_mode=0o755), "added lib"),
        (
            FileChange(path="a", kind=ChangeKind.CHANGE_KIND_DELETED, old_mode=0o644, old_size=9),
            "deleted a (9 B)",
        ),
        (
            FileChange(
                path="a", kind=ChangeKind.CHANGE_KIND_MODIFIED,
                old_mode=0o644, new_mode=0o755, old_size=1, new_size=2, binary=True,
            ),
            "modified a (1 B → 2 B, mode 644 → 755, binary)",
        ),
        (
            FileChange(
                path="b", old_path="a", kind=ChangeKind.CHANGE_KIND_RENAMED,
                old_mode=0o644, new_mode=0o644, old_size=5, new_size=5,
            ),
            "renamed a → b",
        ),
        (FileChange(path="a\x1b[31m", kind=ChangeKind.CHANGE_KIND_ADDED, new_mode=0o644, new_size=3), "(3 B)"),
    ],
)  # fmt: skip
def test_a_change_says_only_what_there_is_to_say(change: FileChange, line: str) -> None:
    shown = change_line(change)
    assert shown == line or (line in shown and "\x1b" not in shown)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            FileChange(
                path="a", kind=ChangeKind.CHANGE_KIND_MODIFIED, old_type=FILE, new_type=DIRECTORY,
                old_mode=0o644, new_mode=0o755, old_size=5,
            ),
            "replaced a (file → directory)",
        ),
        (
            FileChange(
                path="a", kind=ChangeKind.CHANGE_KIND_MODIFIED, old_type=LINK, new_type=FILE,
                new_mode=0o755, old_size=5, new_size=7, binary=True,
            ),
            "replaced a (link → file, binary)",
        ),
        (
            FileChange(path="lib", kind=ChangeKind.CHANGE_KIND_ADDED, new_type=DIRECTORY, new_mode=0o755),
            "added directory lib",
        ),
        (
            FileChange(path="l", kind=ChangeKind.CHANGE_KIND_DELETED, old_type=LINK, old_size=3),
            "deleted link l (3 B)",
        ),
        (
            FileChange(
                path="a", kind=ChangeKind.CHANGE_KIND_MODIFIED, old_type=FILE, new_type=FILE,
                old_mode=0o644, new_mode=0o644, old_size=1, new_size=2,
            ),
            "modified a (1 B → 2 B)",
        ),
        (
            FileChange(
                path="d", kind=ChangeKind.CHANGE_KIND_MODE_CHANGED, old_type=DIRECTORY, new_type=DIRECTORY,
                old_mode=0o755, new_mode=0o700,
            ),
            "mode changed directory d (mode 755 → 700)",
        ),
    ],
)  # fmt: skip
def test_what_took_the_place_of_what_is_said(change: FileChange, line: str) -> None:
    assert change_line(change) == line
