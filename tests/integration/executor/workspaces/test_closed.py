"""What its owner may not read, with an ordinary user's executor: it is named, and never opened up to look."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support.trees import Tree, read_tree, write_tree

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.root import Root
from interlock.executor.snapshots.model import Limits
from interlock.executor.snapshots.scan import Scanned, StatCache, scan
from interlock.executor.snapshots.store import Store

TREE: Tree = {
    b"f": ("f", 0o644, b"content"),
    b"d": ("d", 0o755),
    b"d/e": ("d", 0o755),
    b"d/e/f": ("f", 0o644, b"deep"),
    b"d/g": ("f", 0o600, b"other"),
    b"locked": ("d", 0o555),
    b"locked/in": ("f", 0o444, b"in"),
}
MODES = {path: each[1] for path, each in TREE.items()}
NEW = 0o644
CLOSED = [("f", 0o000), ("d/e/f", 0o200), ("d/e", 0o000), ("d/e", 0o300), ("d/e", 0o400), ("d", 0o600)]

USER = "ordinary-user" if os.geteuid() == 0 else "own-user"
as_user = pytest.mark.parametrize("program", [USER], indirect=True)


@pytest.fixture
def live(room: Path, program: Any) -> Path:
    """The directory of the program's user, which is not root."""
    path = room / "state" / "live"
    path.mkdir()
    write_tree(path, TREE)
    program.give(room / "state")
    return path


def seen(live: Path) -> dict[str, tuple[int, int, int]]:
    """Every mode, and when anything but content was last changed: a mode put back leaves another time."""
    status = {str(path): path.lstat() for path in [live, *live.rglob("*")]}
    return {path: (each.st_mode, each.st_mtime_ns, each.st_ctime_ns) for path, each in status.items()}


@as_user
@pytest.mark.parametrize(("path", "mode"), CLOSED)
def test_an_import_names_what_it_may_not_read_and_touches_nothing(
    live: Path, program: Any, path: str, mode: int
) -> None:
    (live / path).chmod(mode)
    before = seen(live)
    answer = program.run("create", "unlocked", live=str(live))
    assert answer is not None, "it was killed where something is opened up"
    assert (answer["error"], answer["paths"]) == (Reason.PERMISSION_DENIED.value, path)
    assert seen(live) == before
    (live / path).chmod(0o755)
    assert "workspace" in program.run("create", live=str(live))


@as_user
@pytest.mark.parametrize(("path", "mode"), CLOSED)
def test_a_look_names_what_was_closed_since_and_touches_nothing(
    live: Path, program: Any, path: str, mode: int
) -> None:
    made = program.run("create", live=str(live))
    ask = {"workspace": made["workspace"], "path": str(live / path), "mode": mode}
    before = seen(live)
    answer = program.run("look", "unlocked", **ask)
    assert answer is not None, "it was killed where something is opened up"
    assert answer["refused"] == [[Reason.PERMISSION_DENIED.value, path]] * 2
    assert answer["head"] == made["head"]
    after = seen(live)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {str(live / path)}
    assert program.run("fork", "unlocked", workspace=made["workspace"])["error"] == "PERMISSION_DENIED"
    assert seen(live) == after
    (live / path).chmod(0o755)
    assert program.run("fork", workspace=made["workspace"])["drift"] is not None


@as_user
def test_an_unreadable_file_in_the_way_is_left_alone(live: Path, program: Any) -> None:
    ids = program.run("prepare", live=str(live), program=repr([("write", b"f", b"the step's")]))
    (live / "f").chmod(0)
    before = seen(live)
    mode, _, _ = before.pop(str(live))
    for look, reason in (("affected", "WORKSPACE_DRIFTED"), ("everything", "PERMISSION_DENIED")):
        answer = program.run("publish", "unlocked", look=look, **ids)
        assert (answer["error"], answer["paths"]) == (reason, "f")
        after = seen(live)
        assert after.pop(str(live))[0] == mode, "content was staged in it, and removed"
        assert after == before


@as_user
@pytest.mark.parametrize(
    ("change", "path"),
    [(("chmod", b"f", 0), "f"), (("chmod", b"d/g", 0o200), "d/g"), (("chmod", b"d/e", 0o300), "d/e")],
)
def test_an_effect_that_could_not_be_read_back_is_refused(
    live: Path, program: Any, change: tuple[str, bytes, int], path: str
) -> None:
    before = seen(live)
    answer = program.run("prepare", live=str(live), program=repr([change]))
    assert (answer["error"], answer["paths"]) == (Reason.EFFECT_NOT_PUBLISHABLE.value, path)
    assert seen(live) == before


@pytest.mark.parametrize("mode", [0, 0o300, 0o444])
def test_a_workspace_that_a_step_closes_whole_is_read_all_the_same(
    live: Path, program: Any, mode: int
) -> None:
    """No tree holds the mode of the top directory: the step has changed nothing."""
    answer = program.run("prepare", live=str(live), program=repr([("chmod", b".", mode)]))
    assert answer["result"] == answer["base"]


@as_user
def test_a_directory_opened_up_to_publish_is_closed_by_the_recovery(
    live: Path, room: Path, program: Any
) -> None:
    changes = [("chmod", b"locked", 0o755), ("write", b"locked/new", b"new"), ("chmod", b"locked", 0o555)]
    ids = program.run("prepare", live=str(live), program=repr(changes))
    subprocess.run(["cp", "-a", room / "state", room / "saved"], check=True)
    kills = opened = 0
    while program.run("publish", f"unlocked:{kills + 1}", **ids) is None:
        kills += 1
        opened += stat.S_IMODE((live / "locked").stat().st_mode) != 0o555
        assert program.run("recover")["heads"] == {ids["workspace"]: ids["result"]}
        assert {path: each[1] for path, each in read_tree(live).items()} == {**MODES, b"locked/new": NEW}
        assert program.run("rollback", workspace=ids["workspace"], tree=ids["base"])["head"] == ids["base"]
        assert read_tree(live) == TREE
        subprocess.run(["rm", "-rf", room / "state"], check=True)
        subprocess.run(["cp", "-a", room / "saved", room / "state"], check=True)
    assert opened > 0
    assert kills > opened, "the checkout is opened up, too"
    assert {path: each[1] for path, each in read_tree(live).items()} == {**MODES, b"locked/new": NEW}


@pytest.mark.skipif(os.geteuid() != 0, reason="the file is read as root first")
def test_a_closed_file_is_known_as_long_as_nothing_of_it_changed(room: Path) -> None:
    (room / "live").mkdir()
    (room / "live" / "f").write_bytes(b"content")
    for path in (room / "live", room / "live" / "f"):
        os.chown(path, 65433, 65433)
    (room / "live" / "f").chmod(0)
    store, cache = Store(room / "store"), StatCache()

    def read() -> Scanned:
        with Root.open(room / "live") as live:
            return scan(live, store.batch(), cache, Limits())

    first = read()
    while read().hashed:
        pass  # a file as young as the clock's tick is not known yet
    os.seteuid(65433)
    try:
        assert read().snapshot == first.snapshot
        os.utime(room / "live" / "f")
        with pytest.raises(InterlockError) as refused:
            read()
    finally:
        os.seteuid(0)
        store.close()
    assert (refused.value.reason, refused.value.metadata["paths"]) == (Reason.PERMISSION_DENIED, "f")
