"""Files with set-user-id or set-group-id bits: left alone where they are, never made."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.executor.snapshots import filehash, present, scan
from interlock.executor.snapshots.model import FILE, Entry
from interlock.executor.workspaces import Workspaces
from interlock.executor.workspaces.model import DirectorySource, Fork

SOMEBODY = 65_432
IS_ROOT = os.geteuid() == 0


@pytest.fixture
def spaces(open_spaces: Callable[..., Workspaces]) -> Workspaces:
    return open_spaces()


@pytest.fixture
def tool(live: Path) -> Path:
    """A set-user-id file; as root, of another user in a directory of root's."""
    path = live / "tool"
    path.write_text("#!/bin/sh\n")
    (live / "other").write_text("x")
    if IS_ROOT:
        os.chown(path, SOMEBODY, SOMEBODY)
    path.chmod(0o6755)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def publish(spaces: Workspaces, workspace: str, change: Callable[[Fork], object]) -> str:
    fork = spaces.fork(workspace)
    change(fork)
    captured = spaces.capture(fork)
    done = spaces.publish(workspace, captured.base_tree, captured.result_tree, fork=fork)
    spaces.discard(fork)
    return done.head_tree


def test_a_restored_file_lends_no_rights(spaces: Workspaces, live: Path, tool: Path) -> None:
    workspace = spaces.create(DirectorySource(live))
    publish(spaces, workspace.id, lambda fork: (fork.upper / "tool").unlink())
    assert not tool.exists()
    rolled = spaces.rollback(workspace.id, workspace.head)
    assert rolled.head_tree == workspace.head
    assert mode(tool) == 0o755
    assert tool.read_text() == "#!/bin/sh\n"
    # The directory shows exactly the tree that it was rolled back to: nothing has drifted.
    assert spaces.look_for_drift(workspace.id) is None
    assert spaces.fork(workspace.id).base_tree == workspace.head


def test_a_changed_file_lends_no_rights(spaces: Workspaces, live: Path, tool: Path) -> None:
    workspace = spaces.create(DirectorySource(live))

    def replace(fork: Fork) -> None:
        (fork.upper / "tool").write_text("#!/bin/sh\nevil\n")

    publish(spaces, workspace.id, replace)
    assert (tool.read_text(), mode(tool)) == ("#!/bin/sh\nevil\n", 0o755)


def test_a_file_that_nobody_changes_keeps_its_bits(spaces: Workspaces, live: Path, tool: Path) -> None:
    workspace = spaces.create(DirectorySource(live))
    before = tool.stat()
    head = publish(spaces, workspace.id, lambda fork: (fork.upper / "other").write_text("y"))
    spaces.rollback(workspace.id, workspace.head)
    assert tool.stat() == before
    assert mode(tool) == 0o6755
    assert head != workspace.head


def test_the_tree_is_the_same_with_the_bits_and_without(spaces: Workspaces, live: Path, tool: Path) -> None:
    workspace = spaces.create(DirectorySource(live))
    tool.chmod(0o755)
    assert spaces.look_for_drift(workspace.id) is None
    assert spaces.fork(workspace.id).base_tree == workspace.head


def test_a_step_in_a_copied_fork_cannot_set_them(spaces: Workspaces, live: Path, tool: Path) -> None:
    workspace = spaces.create(DirectorySource(live))
    fork = spaces.fork(workspace.id)
    assert mode(fork.upper / "tool") == 0o755
    (fork.upper / "other").chmod(0o4755)
    with pytest.raises(InterlockError) as told:
        spaces.capture(fork)
    assert told.value.reason is Reason.EFFECT_NOT_PUBLISHABLE
    assert "other (file with a set-user-id or set-group-id bit)" in told.value.message


def test_a_tree_of_an_older_version_that_has_them(
    spaces: Workspaces, live: Path, tool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        for module in (filehash, present, scan):
            older.setattr(module, "file_entry", lambda mode, value: Entry(FILE, mode & 0o7777, value))
        workspace = spaces.create(DirectorySource(live))
    publish(spaces, workspace.id, lambda fork: (fork.upper / "tool").unlink())
    spaces.rollback(workspace.id, workspace.head)
    assert mode(tool) == 0o755
