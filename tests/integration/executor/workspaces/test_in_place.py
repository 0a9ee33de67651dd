"""The executor's own checkout is written where it is: that must not show, whatever goes wrong."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tests.support.trees import Tree, read_tree, write_tree

from interlock.common.errors import InterlockError, Reason
from interlock.executor.snapshots import apply, write
from interlock.executor.workspaces import DirectorySource, Workspaces

START: Tree = {
    b"grows": ("f", 0o644, b"a" * 100),
    b"shrinks": ("f", 0o640, b"b" * 9000),
    b"aligned": ("f", 0o644, b"c" * 5000),
    b"executable": ("f", 0o755, b"#!/bin/sh\n"),
    b"empty": ("f", 0o644, b""),
    b"emptied": ("f", 0o644, b"e" * 5000),
}
AFTER: Tree = {
    b"grows": ("f", 0o644, b"A" * 20_000),
    b"shrinks": ("f", 0o640, b"B"),
    b"aligned": ("f", 0o644, b"C" * 8192),
    b"executable": ("f", 0o700, b"#!/bin/bash\n"),
    b"empty": ("f", 0o644, b"no more"),
    b"emptied": ("f", 0o644, b""),
}


def inodes(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in directory.iterdir()}


def publish_all(spaces: Workspaces, live: Path) -> tuple[str, str, str]:
    """A workspace, and an effect on it that changes every file and was not published yet: id, base, result."""
    write_tree(live, START)
    workspace = spaces.create(DirectorySource(live))
    fork = spaces.fork(workspace.id)
    write_tree(fork.upper, AFTER)
    captured = spaces.capture(fork)
    spaces.discard(fork)
    return workspace.id, captured.base_tree, captured.result_tree


def test_the_base_keeps_its_files_and_the_users_are_replaced(spaces: Workspaces, live: Path) -> None:
    workspace, base, result = publish_all(spaces, live)
    checkout = spaces._layout.base(workspace)
    before, mine = inodes(checkout), inodes(live)
    with open(live / "shrinks", "rb") as reading:
        spaces.publish(workspace, base, result)
        assert reading.read() == b"b" * 9000, "who has the user's file open goes on reading what it was"
    assert read_tree(checkout, mtimes=True) == read_tree(live, mtimes=True)
    assert read_tree(live) == AFTER
    assert inodes(checkout) == before
    assert all(inodes(live)[name] != inode for name, inode in mine.items())
    spaces.rollback(workspace, base)
    assert read_tree(checkout) == read_tree(live) == START
    assert inodes(checkout) == before


def test_a_file_of_the_base_with_a_second_name_is_replaced(
    spaces: Workspaces, room: Path, live: Path
) -> None:
    workspace, base, result = publish_all(spaces, live)
    checkout = spaces._layout.base(workspace)
    os.link(checkout / "grows", room / "second")
    spaces.publish(workspace, base, result)
    assert read_tree(checkout) == AFTER
    assert (room / "second").read_bytes() == b"a" * 100


def test_a_file_written_by_half_is_written_again_before_anybody_reads_it(
    spaces: Workspaces, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, base, result = publish_all(spaces, live)
    checkout = spaces._layout.base(workspace)

    def half(
        dir_fd: int, name: bytes, data: bytes, mode: int, mtime_ns: int | None, *, begin_sync: bool
    ) -> None:
        write.rewrite(dir_fd, name, data[: len(data) // 2], 0o600, None, begin_sync=begin_sync)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(apply, "rewrite", half)
        with pytest.raises(InterlockError, match="half-way") as caught:
            spaces.publish(workspace, base, result, key="k")
        assert caught.value.reason is Reason.UNAVAILABLE
    assert read_tree(checkout) not in (START, AFTER)
    staged = {path for path in read_tree(live) if path.startswith(b".interlock-")}
    assert {path: item for path, item in read_tree(live).items() if path not in staged} == START
    fork = spaces.fork(workspace)
    assert read_tree(checkout) == read_tree(live) == AFTER
    assert fork.base_tree == result
    spaces.discard(fork)
    assert spaces.publish(workspace, base, result, key="k").how == "already"


def test_where_the_disk_is_nearly_full_files_that_grow_are_staged_first(
    spaces: Workspaces, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be written must be found out before anything has changed."""
    workspace, base, result = publish_all(spaces, live)
    checkout = spaces._layout.base(workspace)
    before = inodes(checkout)
    monkeypatch.setattr(apply, "_ROOMY", 1 << 62)
    spaces.publish(workspace, base, result)
    assert read_tree(checkout) == read_tree(live) == AFTER
    after = inodes(checkout)
    assert after["grows"] != before["grows"]
    assert after["shrinks"] == before["shrinks"]
