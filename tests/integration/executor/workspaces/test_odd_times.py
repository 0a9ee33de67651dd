"""Files from years that 64 bits of nanoseconds cannot tell: a step needs one `touch` to make one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.support.trees import read_tree

from interlock.executor.workspaces import DirectorySource, Workspaces

YEAR_2286, YEAR_1653 = 10_000_000_000, -10_000_000_000


def test_they_are_imported_captured_published_and_brought_back(
    open_spaces: Callable[..., Workspaces], live: Path
) -> None:
    for name, seconds in (("old", YEAR_1653), ("new", YEAR_2286)):
        (live / name).write_text(name)
        os.utime(live / name, (seconds, seconds))
    before = read_tree(live)
    spaces = open_spaces()
    here = spaces.create(DirectorySource(live))
    fork = spaces.fork(here.id)
    (fork.upper / "new").write_text("changed")
    (fork.upper / "directory").mkdir()
    for name in ("new", "directory"):
        os.utime(fork.upper / name, (YEAR_2286, YEAR_2286))
    captured = spaces.capture(fork)
    spaces.discard(fork)
    assert {change.path for change in captured.changes} == {"new", "directory"}
    spaces.publish(here.id, captured.base_tree, captured.result_tree)
    assert (live / "new").read_text() == "changed"
    spaces.close()

    again = open_spaces()
    assert again.look_for_drift(here.id) is None
    again.rollback(here.id, here.head)
    assert read_tree(live) == before
