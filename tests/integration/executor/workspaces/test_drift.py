"""Others edit the live directory while an effect waits: disjoint edits are kept, overlaps refused, in every pairing."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.trees import Tree, copy, mutate, programs, read_tree, trees, write_tree

from interlock.common.errors import InterlockError, Reason
from interlock.executor.workspaces import DirectorySource, PublishResult, Workspaces

START: Tree = {
    b"f": ("f", 0o644, b"start\n"),
    b"other": ("f", 0o644, b"other\n"),
    b"d": ("d", 0o755),
    b"d/in": ("f", 0o644, b"in\n"),
}
SIDES: dict[str, list[tuple[Any, ...]]] = {
    "edit": [("write", b"f", b"%s\n")],
    "delete": [("remove", b"f", None)],
    "rename": [("move", b"f", b"f-%s")],
    "mode": [("chmod", b"f", 0o7)],
    "to-directory": [("remove", b"f", None), ("mkdir", b"f", None), ("write", b"f/%s", b"x")],
    "add": [("write", b"n", b"%s")],
    "edit-in-directory": [("write", b"d/in", b"%s")],
    "add-in-directory": [("write", b"d/%s", b"x")],
    "delete-directory": [("remove", b"d", None)],
    "directory-to-file": [("remove", b"d", None), ("write", b"d", b"%s")],
    "directory-mode": [("chmod", b"d", 0o7)],
    "rename-directory": [("move", b"d", b"d-%s")],
}


def side(name: str, who: bytes) -> list[tuple[Any, ...]]:
    """A change made in a way of its own by each side."""
    mode = {b"ours": 0o700, b"theirs": 0o750}[who]
    return [
        (op, path.replace(b"%s", who), mode if op == "chmod" else arg and arg.replace(b"%s", who))
        for op, path, arg in SIDES[name]
    ]


def touched(name: str, who: bytes, room: Path) -> dict[bytes, Any]:
    """The paths a change really changes, and to what."""
    place = room / f"touched-{name}-{who.decode()}"
    place.mkdir()
    write_tree(place, START)
    mutate(bytes(place), side(name, who))
    after = read_tree(place)
    return {
        path: after.get(path) for path in START.keys() | after.keys() if START.get(path) != after.get(path)
    }


def expected(ours: dict[bytes, Any], theirs: dict[bytes, Any]) -> Tree | None:
    """The merge by paths, worked out on plain dictionaries; None where the two overlap."""
    merged = {**START}
    for path, value in {**theirs, **ours}.items():
        if path in ours and path in theirs and ours[path] != theirs[path]:
            return None
        merged[path] = value
    tree = {path: value for path, value in merged.items() if value is not None}
    for path in tree:
        parent = path.rpartition(b"/")[0]
        if parent and tree.get(parent, ("?",))[0] != "d":
            return None
    return tree


def prepare(spaces: Workspaces, live: Path, program: list[tuple[Any, ...]]) -> tuple[str, str, str]:
    workspace = spaces.create(DirectorySource(live))
    fork = spaces.fork(workspace.id)
    mutate(bytes(fork.upper), program)
    captured = spaces.capture(fork)
    spaces.discard(fork)
    return workspace.id, captured.base_tree, captured.result_tree


@pytest.mark.parametrize("look", ["everything", "affected"])
@pytest.mark.parametrize("theirs", SIDES)
@pytest.mark.parametrize("ours", SIDES)
def test_matrix(spaces: Workspaces, room: Path, live: Path, ours: str, theirs: str, look: Any) -> None:
    write_tree(live, START)
    workspace, base, result = prepare(spaces, live, side(ours, b"ours"))
    mutate(bytes(live), side(theirs, b"theirs"))
    before = read_tree(live)
    mine, others = touched(ours, b"ours", room), touched(theirs, b"theirs", room)
    want = expected(mine, others)
    included = others.items() <= mine.items()  # what others did is part of the effect

    if want is None:
        with pytest.raises(InterlockError) as caught:
            spaces.publish(workspace, base, result, look=look)
        assert caught.value.reason is Reason.WORKSPACE_DRIFTED
        assert caught.value.metadata["paths"]
        assert read_tree(live) == before, "nothing was changed"
        assert spaces.get(workspace).head == base
        return
    done = spaces.publish(workspace, base, result, look=look)
    assert read_tree(live) == want, "both sides' changes are there"
    assert done.kept == ()
    if look == "everything":
        assert done.how == ("published" if included else "merged")
        assert done.drift is not None
    fork = spaces.fork(workspace)
    assert (fork.drift is None) == (look == "everything" or included)
    assert read_tree(fork.lower) == read_tree(fork.upper) == want
    assert spaces.get(workspace).head == fork.base_tree


def test_the_same_change_on_both_sides_is_no_conflict(spaces: Workspaces, live: Path) -> None:
    write_tree(live, START)
    workspace, base, result = prepare(spaces, live, [("write", b"f", b"same"), ("mkdir", b"new", None)])
    mutate(bytes(live), [("write", b"f", b"same"), ("mkdir", b"new", None)])
    for look in ("affected", "everything"):
        done = spaces.publish(workspace, base, result, look=look, key="k")
        assert done.head_tree == result
    assert (done.how, spaces.get(workspace).head) == ("already", result)


def test_drift_adopted_by_another_fork_does_not_void_a_waiting_effect(spaces: Workspaces, live: Path) -> None:
    write_tree(live, START)
    workspace, base, result = prepare(spaces, live, [("write", b"f", b"ours")])
    (live / "other").write_bytes(b"theirs")
    drift = spaces.look_for_drift(workspace)
    assert drift is not None
    assert [(change.path, change.kind) for change in drift.changes] == [("other", "modified")]
    assert spaces.get(workspace).head == drift.new_tree != base
    done = spaces.publish(workspace, base, result)
    assert done.how == "merged"
    assert (live / "f").read_bytes() == b"ours"
    assert (live / "other").read_bytes() == b"theirs"
    assert [head.cause for head in spaces.heads(workspace)] == ["import", "drift", "publish"]


def test_a_head_moved_by_another_publication_is_refused(spaces: Workspaces, live: Path) -> None:
    write_tree(live, START)
    workspace, base, result = prepare(spaces, live, [("write", b"f", b"first")])
    second = spaces.edit(workspace, base, "other", b"second")
    spaces.publish(workspace, base, result)
    with pytest.raises(InterlockError) as caught:
        spaces.publish(workspace, base, second.result_tree)
    assert caught.value.reason is Reason.WORKSPACE_HEAD_MOVED
    assert caught.value.metadata == {"base": base, "head": result}


def test_a_symlink_put_where_a_parent_was_is_never_followed(
    spaces: Workspaces, room: Path, live: Path
) -> None:
    write_tree(live, START)
    outside = room / "outside"
    outside.mkdir()
    (outside / "in").write_bytes(b"in\n")
    workspace, base, result = prepare(spaces, live, [("write", b"d/in", b"ours"), ("write", b"d/new", b"x")])
    shutil.rmtree(live / "d")
    (live / "d").symlink_to(outside)
    for look in ("affected", "everything"):
        with pytest.raises(InterlockError) as caught:
            spaces.publish(workspace, base, result, look=look)
        assert caught.value.reason is Reason.WORKSPACE_DRIFTED
    assert read_tree(outside) == {b"in": ("f", 0o644, b"in\n")}


@pytest.mark.parametrize("path", ["new", "new/below", "d/new"])
def test_nothing_is_called_published_where_a_fifo_stands(spaces: Workspaces, live: Path, path: str) -> None:
    (live / "d").mkdir()
    workspace = spaces.create(DirectorySource(live))
    captured = spaces.edit(workspace.id, workspace.head, path, b"content")
    fifo = live / ("d/new" if path == "d/new" else "new")
    os.mkfifo(fifo)
    with pytest.raises(InterlockError) as caught:
        spaces.publish(workspace.id, captured.base_tree, captured.result_tree)
    assert caught.value.reason is Reason.EFFECT_NOT_PUBLISHABLE
    assert fifo.is_fifo()
    assert spaces.get(workspace.id).head == workspace.head
    fifo.unlink()
    spaces.publish(workspace.id, captured.base_tree, captured.result_tree)
    assert (live / path).read_bytes() == b"content"


def test_a_new_mode_stays_inside_the_workspace(spaces: Workspaces, live: Path, room: Path) -> None:
    """A file's second name may be outside: in a package cache, or wherever somebody linked it from."""
    outside = room / "outside"
    outside.write_bytes(b"shared")
    outside.chmod(0o640)
    (live / "linked").hardlink_to(outside)
    (live / "own").write_bytes(b"own")
    workspace = spaces.create(DirectorySource(live))
    fork = spaces.fork(workspace.id)
    for name in ("linked", "own"):
        (fork.upper / name).chmod(0o777)
    captured = spaces.capture(fork)
    spaces.publish(workspace.id, captured.base_tree, captured.result_tree, fork=fork)
    assert stat.S_IMODE((live / "linked").stat().st_mode) == 0o777
    assert stat.S_IMODE((live / "own").stat().st_mode) == 0o777
    assert (live / "linked").read_bytes() == b"shared"
    assert stat.S_IMODE(outside.stat().st_mode) == 0o640


def test_rollback_keeps_what_others_changed_elsewhere(spaces: Workspaces, live: Path) -> None:
    write_tree(live, START)
    workspace, base, result = prepare(spaces, live, [("remove", b"d", None), ("write", b"f", b"1")])
    spaces.publish(workspace, base, result)
    (live / "mine").write_bytes(b"mine")
    done = spaces.rollback(workspace, base, key="r", expected_head=result)
    assert done.how == "merged"
    assert read_tree(live) == {**START, b"mine": ("f", 0o644, b"mine")}
    again = spaces.rollback(workspace, base, key="r", expected_head=result)
    assert again == PublishResult(done.head_tree, "already")


def test_rollback_of_whatever_the_head_is_goes_to_that_very_tree_and_what_others_did_is_kept_as_a_head(
    spaces: Workspaces, live: Path
) -> None:
    write_tree(live, START)
    workspace, base, result = prepare(spaces, live, [("write", b"f", b"1")])
    spaces.publish(workspace, base, result)
    (live / "mine").write_bytes(b"mine")
    (live / "f").write_bytes(b"mine, too")
    done = spaces.rollback(workspace, base, key="r")
    assert (done.head_tree, done.how) == (base, "published")
    assert read_tree(live) == START
    assert [head.cause for head in spaces.heads(workspace)][-2:] == ["drift", "rollback"]
    assert spaces.rollback(workspace, base, key="r") == PublishResult(base, "already")
    assert spaces.rollback(workspace, spaces.heads(workspace)[-2].tree, key="back").how == "published"
    assert (live / "mine").read_bytes() == b"mine"


def test_publication_waits_for_running_forks(spaces_overlay: Workspaces, live: Path) -> None:
    spaces = spaces_overlay
    write_tree(live, START)
    workspace = spaces.create(DirectorySource(live))
    captured = spaces.edit(workspace.id, workspace.head, "f", b"new")
    fork = spaces.fork(workspace.id)
    with pytest.raises(InterlockError) as caught:
        spaces.publish(workspace.id, captured.base_tree, captured.result_tree)
    assert caught.value.reason is Reason.WORKSPACE_BUSY
    assert fork.id in str(caught.value)
    done: list[PublishResult] = []
    waiter = threading.Thread(
        target=lambda: done.append(
            spaces.publish(workspace.id, captured.base_tree, captured.result_tree, wait=30)
        )
    )
    waiter.start()
    assert (fork.lower / "f").read_bytes() == b"start\n", "the base does not move under a running fork"
    spaces.discard(fork)
    waiter.join()
    assert done[0].how == "published"
    assert (live / "f").read_bytes() == b"new"


@pytest.fixture
def spaces_overlay(open_spaces: Callable[..., Workspaces]) -> Workspaces:
    return open_spaces(copy_forks=False)


cases = trees().flatmap(
    lambda tree: st.tuples(st.just(tree), programs(tree, 6), programs(tree, 6), st.booleans())
)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(case=cases, number=st.uuids())
def test_any_two_sides(case: Any, number: Any, spaces: Workspaces, room: Path) -> None:
    tree, ours, theirs, affected = case
    live, alone = room / f"{number}-live", room / f"{number}-alone"
    live.mkdir()
    write_tree(live, tree)
    copy(live, alone)
    workspace, base, result = prepare(spaces, live, ours)
    mutate(bytes(alone), ours)
    mutate(bytes(live), theirs)
    ours_only, before = read_tree(alone), read_tree(live)
    try:
        done = spaces.publish(workspace, base, result, look="affected" if affected else "everything")
    except InterlockError as error:
        assert error.reason is Reason.WORKSPACE_DRIFTED, error  # noqa: PT017 either outcome is right
        assert read_tree(live) == before
    else:
        after = read_tree(live)
        assert done.kept == ()
        for path in after.keys() | before.keys() | ours_only.keys() | tree.keys():
            mine, old = ours_only.get(path), tree.get(path)
            assert after.get(path) == (mine if mine != old else before.get(path)), path
    fork = spaces.fork(workspace)
    assert read_tree(fork.lower) == read_tree(live)
    spaces.discard(fork)
    spaces.remove(workspace)
    for path in (live, alone):
        shutil.rmtree(path)
