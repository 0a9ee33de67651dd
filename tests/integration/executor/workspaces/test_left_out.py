"""Sockets, fifos and devices of a directory that is made a workspace: left where they are, and told."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from tests.support.trees import Tree, write_tree

from interlock.executor.convert.workspaces import workspace as workspace_message
from interlock.executor.workspaces.manager import Workspaces
from interlock.executor.workspaces.model import DirectorySource, LeftOut

SMALL: Tree = {b"a": ("f", 0o644, b"a\n"), b"d": ("d", 0o755)}


def test_what_was_left_out_is_told_and_remembered(spaces: Workspaces, live: Path) -> None:
    write_tree(live, SMALL)
    for index in range(120):
        os.mkfifo(live / f"pipe-{index:03}")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(live / "d" / "s\x1b"))
    made = spaces.create(DirectorySource(live))
    assert made.left_out.total == 121
    assert len(made.left_out.first) == 100
    assert made.left_out.first[:2] == (("d/s\\x1b", "socket"), ("pipe-000", "fifo"))
    (live / "pipe-000").unlink()
    assert spaces.get(made.id).left_out == made.left_out, "it is what the import did"
    sent = workspace_message(made, b"")
    assert (len(sent.left_out), sent.left_out_total) == (100, 121)
    assert (sent.left_out[0].path, sent.left_out[0].what) == ("d/s\\x1b", "socket")


def test_an_import_that_took_everything_says_nothing(spaces: Workspaces, live: Path) -> None:
    write_tree(live, SMALL)
    assert spaces.create(DirectorySource(live)).left_out == LeftOut()
