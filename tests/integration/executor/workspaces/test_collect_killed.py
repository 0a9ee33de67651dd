"""SIGKILL at every point of a collection; and a directory that an earlier release made."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.trees import read_tree

from interlock.common.errors import InterlockError, Reason
from interlock.executor.workspaces import DirectorySource, Workspaces
from interlock.executor.workspaces.collector import Ask, Retention


def test_a_collection_that_is_killed_anywhere_loses_nothing_and_is_ended_by_the_next(
    room: Path, program: Any
) -> None:
    live = room / "state" / "live"
    live.mkdir()
    (live / "keep").write_bytes(b"keep" * 500_000)
    program.give(room / "state")
    made = program.run("garbage", live=str(live))
    subprocess.run(["cp", "-a", room / "state", room / "saved"], check=True)
    full = program.run("stored")
    removed = program.run("collect")["removed"]
    assert removed > 5
    ended = program.run("stored")
    assert len(ended["objects"]) == len(full["objects"]) - removed
    assert ended["strays"] == []
    kills, number = 0, 1
    while True:
        subprocess.run(["rm", "-rf", room / "state"], check=True)
        subprocess.run(["cp", "-a", room / "saved", room / "state"], check=True)
        killed = program.run("collect", failpoint=f"*:{number}") is None
        between = program.run("stored")
        assert between["missing"] == []
        assert set(ended["objects"]) <= set(between["objects"]) <= set(full["objects"])
        program.run("collect")
        after = program.run("stored")
        assert (after["objects"], after["missing"]) == (ended["objects"], [])
        if not killed:
            break
        kills, number = kills + 1, number + 1
    assert kills > 10
    for tree in (made["trees"][0], made["trees"][-1]):
        program.run("rollback", workspace=made["workspace"], tree=tree)
    assert (live / "file").exists() is False or read_tree(live)[b"keep"][2] == b"keep" * 500_000


def test_a_file_of_a_big_object_that_was_left_is_collected_later(
    open_spaces: Callable[..., Workspaces], live: Path
) -> None:
    """Killed between the deletion of its row and its own: nobody has it, and it goes when it is old enough."""
    (live / "big").write_bytes(b"b" * (2 << 20))
    spaces = open_spaces(retention=Retention(timedelta(0), timedelta(0)))
    workspace = spaces.create(DirectorySource(live))
    [file] = (spaces.store.directory / "big").glob("??/*")
    stray = file.parent.parent / "00" / ("00" * 32)
    stray.parent.mkdir(exist_ok=True)
    shutil.copy(file, stray)
    spaces.collector.collect(Ask())
    assert stray.exists(), "it may be one that is being written"

    os.utime(stray, (0, 0))
    os.utime(file, (0, 0))
    assert spaces.collector.collect(Ask()).swept.freed == 2 << 20
    assert not stray.exists()
    assert spaces.read_file(workspace.id, "big", tree=workspace.head, limit=1).data == b"b"


OLD_LAYOUT = {
    "store/objects.db": """
        ALTER TABLE objects DROP COLUMN added; DROP TABLE totals; PRAGMA user_version=0;""",
    "workspaces.db": """
        ALTER TABLE snapshots DROP COLUMN at; ALTER TABLE publications DROP COLUMN at; DROP TABLE named;
        PRAGMA user_version=0;""",
}


def test_a_directory_of_an_earlier_release_opens(
    open_spaces: Callable[..., Workspaces], room: Path, live: Path
) -> None:
    (live / "a").write_bytes(b"a" * 100)
    (live / "big").write_bytes(b"b" * (2 << 20))
    spaces = open_spaces()
    workspace = spaces.create(DirectorySource(live))
    edited = spaces.edit(workspace.id, workspace.head, "a", b"new")
    spaces.publish(workspace.id, edited.base_tree, edited.result_tree, key="k")
    before = spaces.usage()
    spaces.close()
    for name, script in OLD_LAYOUT.items():
        with sqlite3.connect(room / "executor" / name) as db:
            db.executescript(script)
        db.close()
    spaces = open_spaces(retention=Retention(timedelta(days=1), timedelta(hours=1)))
    assert spaces.usage() == before
    done = spaces.collector.collect(Ask())
    assert (done.pruned.trees, done.swept.removed) == (0, 0), "how old things are counts from now"
    assert spaces.publish(workspace.id, edited.base_tree, edited.result_tree, key="k").how == "already"
    spaces.rollback(workspace.id, workspace.head)
    assert (live / "a").read_bytes() == b"a" * 100
    spaces.close()
    open_spaces().close()  # and once more, by the new release


@pytest.mark.parametrize("name", list(OLD_LAYOUT))
def test_a_directory_of_a_later_release_is_refused(
    open_spaces: Callable[..., Workspaces], room: Path, name: str
) -> None:
    open_spaces().close()
    with sqlite3.connect(room / "executor" / name) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(InterlockError, match="layout 99") as caught:
        open_spaces()
    assert caught.value.reason is Reason.UNAVAILABLE
