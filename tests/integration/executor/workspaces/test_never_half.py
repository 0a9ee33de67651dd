"""An approved effect takes effect whole or not at all, whatever others do to the directory meanwhile."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.trees import Tree, read_tree, write_tree

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files import failpoints, kernel
from interlock.executor.workspaces import Capture, DirectorySource, Workspaces

START: Tree = {
    b"a": ("f", 0o644, b"a0"),
    b"b": ("f", 0o644, b"b0"),
    b"c": ("f", 0o644, b"c0"),
    b"d": ("d", 0o755),
    b"d/gone": ("f", 0o644, b"gone"),
}
AFTER: Tree = {
    b"a": ("f", 0o644, b"agent"),
    b"b": ("f", 0o644, b"agent"),
    b"c": ("f", 0o644, b"agent"),
    b"d": ("d", 0o755),
    b"new": ("f", 0o644, b"agent"),
}


@pytest.fixture
def prepared(spaces: Workspaces, live: Path) -> tuple[str, Capture]:
    write_tree(live, START)
    return prepare(spaces, live)


@pytest.fixture
def at_point() -> Iterator[Callable[[str, Callable[[], None]], None]]:
    """Does something once when a point is passed for the first time."""

    def arm(name: str, do: Callable[[], None]) -> None:
        def action(passed: str) -> None:
            if passed == name:
                failpoints.action = None
                do()

        failpoints.action = action

    yield arm
    failpoints.action = None


def prepare(spaces: Workspaces, live: Path) -> tuple[str, Capture]:
    workspace = spaces.create(DirectorySource(live)).id
    return workspace, work(spaces, workspace)


def work(spaces: Workspaces, workspace: str) -> Capture:
    fork = spaces.fork(workspace)
    for name in ("a", "b", "c", "new"):
        (fork.upper / name).write_bytes(b"agent")
    (fork.upper / "d/gone").unlink()
    captured = spaces.capture(fork)
    spaces.discard(fork)
    return captured


def publish(spaces: Workspaces, workspace: str, captured: Capture) -> Any:
    return spaces.publish(workspace, captured.base_tree, captured.result_tree, key="k")


def refused(spaces: Workspaces, workspace: str, captured: Capture) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        publish(spaces, workspace, captured)
    assert spaces.get(workspace).head == captured.base_tree, "the head is as it was"
    assert not spaces._registry.records(workspace)
    return caught.value


def test_a_write_under_a_name_made_outside_refuses_all_of_it(
    spaces: Workspaces, room: Path, live: Path, prepared: tuple[str, Capture]
) -> None:
    workspace, captured = prepared
    os.link(live / "a", room / "outside")
    (room / "outside").write_bytes(b"the user's")
    before = read_tree(live)
    error = refused(spaces, workspace, captured)
    assert (error.reason, error.metadata["paths"]) == (Reason.WORKSPACE_DRIFTED, "a")
    assert read_tree(live) == before, "nothing was written"
    again = work(spaces, workspace)
    assert again.base_tree != captured.base_tree, "asked again, it stands on what was missed"
    assert publish(spaces, workspace, again).how == "published"
    assert read_tree(live) == AFTER


def test_a_write_through_a_mapping_refuses_all_of_it(spaces: Workspaces, live: Path) -> None:
    write_tree(live, {**START, b"a": ("f", 0o644, b"0" * 4096)})
    workspace = spaces.create(DirectorySource(live)).id
    with open(live / "a", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[0:5] = b"first"
        os.utime(live / "a")
        spaces.look_for_drift(workspace)
        seen = os.stat(live / "a")
        captured = work(spaces, workspace)
        mapping[0:5] = b"USER!"
        now = os.stat(live / "a")
        assert (now.st_mtime_ns, now.st_ctime_ns) == (seen.st_mtime_ns, seen.st_ctime_ns), "no status tells"
        assert refused(spaces, workspace, captured).reason is Reason.WORKSPACE_DRIFTED
    assert (live / "a").read_bytes().startswith(b"USER!")
    again = work(spaces, workspace)
    assert again.base_tree != captured.base_tree
    publish(spaces, workspace, again)
    assert read_tree(live) == AFTER


def test_what_is_saved_while_new_content_is_staged_refuses_all_of_it(
    spaces: Workspaces, live: Path, prepared: tuple[str, Capture], at_point: Any
) -> None:
    workspace, captured = prepared
    at_point("publish.live.staged", lambda: (live / "c").write_bytes(b"the user's"))
    assert refused(spaces, workspace, captured).reason is Reason.WORKSPACE_DRIFTED
    assert read_tree(live) == {**START, b"c": ("f", 0o644, b"the user's")}


def test_a_socket_in_a_directory_that_goes_refuses_all_of_it(spaces: Workspaces, live: Path) -> None:
    write_tree(live, START)
    workspace = spaces.create(DirectorySource(live)).id
    fork = spaces.fork(workspace)
    (fork.upper / "a").write_bytes(b"agent")
    (fork.upper / "d/gone").unlink()
    (fork.upper / "d").rmdir()
    captured = spaces.capture(fork)
    os.mkfifo(live / "d/fifo")
    assert refused(spaces, workspace, captured).reason is Reason.EFFECT_NOT_PUBLISHABLE
    assert (live / "a").read_bytes() == b"a0"


@pytest.mark.parametrize("path", ["b", "d/gone"])
def test_a_write_between_the_look_and_the_rename_is_kept_and_told(
    spaces: Workspaces, live: Path, prepared: tuple[str, Capture], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, captured = prepared
    exchange, rename = kernel.exchange, os.rename

    def write(name: bytes) -> None:
        if os.fsencode(path).endswith(name):
            (live / path).write_bytes(b"the user's")

    def late_exchange(src_fd: int, src: bytes, dst_fd: int, dst: bytes) -> bool:
        if not (live / path).read_bytes().startswith(b"the"):
            write(dst)
        return exchange(src_fd, src, dst_fd, dst)

    def late_rename(src: bytes, dst: bytes, **fds: int) -> None:
        write(src)
        rename(src, dst, **fds)

    monkeypatch.setattr(kernel, "exchange", late_exchange)
    monkeypatch.setattr(os, "rename", late_rename)
    done = publish(spaces, workspace, captured)
    monkeypatch.undo()
    assert (done.kept, done.kept_count) == ((path,), 1)
    assert read_tree(live) == {**AFTER, path.encode(): ("f", 0o644, b"the user's")}
    again = publish(spaces, workspace, captured)
    assert (again.how, again.kept, again.kept_count) == ("already", (path,), 1), (
        "a repeated call is told, too"
    )
    drift = spaces.look_for_drift(workspace)
    assert drift is not None
    assert [change.path for change in drift.changes] == [path]


def test_a_write_through_a_descriptor_opened_before_is_kept_and_told(
    spaces: Workspaces, live: Path, prepared: tuple[str, Capture], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, captured = prepared
    with open(live / "a", "r+b", buffering=0) as file:
        exchanged = kernel.exchange

        def then_write(*arguments: Any) -> bool:
            done = exchanged(*arguments)
            if arguments[3] == b"b":
                file.write(b"the user's")
            return done

        monkeypatch.setattr(kernel, "exchange", then_write)
        done = publish(spaces, workspace, captured)
    assert done.kept == ("a",)
    assert (live / "a").read_bytes() == b"the user's"


def test_without_the_exchange_a_plain_rename_has_to_do(
    spaces: Workspaces, live: Path, prepared: tuple[str, Capture], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, captured = prepared
    monkeypatch.setattr(kernel, "exchange", lambda *_: False)
    assert publish(spaces, workspace, captured).kept == ()
    assert read_tree(live) == AFTER


@pytest.mark.parametrize(("name", "kill"), [("c", 1), ("a", 2)])
def test_what_was_displaced_and_not_yet_looked_at_survives_a_kill(
    room: Path, program: Any, name: str, kill: int
) -> None:
    live = room / "state/live"
    live.mkdir()
    write_tree(live, START)
    program.give(room / "state")
    changes = [("write", b"a", b"agent"), ("remove", b"c", None)]
    ids = program.run("prepare", live=str(live), program=repr(changes))
    assert program.run("publish", f"publish.displaced:{kill}", **ids) is None
    (staging,) = live.glob(".interlock-*")
    (displaced,) = (each for each in staging.iterdir() if each.read_bytes() == name.encode() + b"0")
    displaced.write_bytes(b"the user's")  # as if that had been written just before it was displaced
    found = program.run("recover")
    assert found["kept"] == [name]
    assert (live / name).read_bytes() == b"the user's"


@pytest.mark.parametrize("point", ["publish.base.entry", "publish.live.entry", "publish.live.directory"])
@pytest.mark.parametrize("code", [errno.EPERM, errno.EBUSY, errno.EROFS, errno.EACCES])
def test_what_cannot_be_changed_takes_back_what_was(
    spaces: Workspaces, live: Path, prepared: tuple[str, Capture], at_point: Any, point: str, code: int
) -> None:
    workspace, captured = prepared
    before = read_tree(live, mtimes=True)

    def refuse() -> None:
        raise OSError(code, os.strerror(code))

    at_point(point, refuse)
    error = refused(spaces, workspace, captured)
    assert error.reason is Reason.EFFECT_NOT_PUBLISHABLE
    assert os.strerror(code) in error.message
    assert read_tree(live, mtimes=True) == before
    assert read_tree(spaces._layout.base(workspace)) == START
    assert publish(spaces, workspace, captured).how == "published", "when it can be changed it is published"
    assert read_tree(live) == AFTER


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_file_that_something_is_mounted_on_is_named(spaces: Workspaces, room: Path, live: Path) -> None:
    write_tree(live, START)
    (room / "host").write_bytes(b"b0")
    workspace, captured = prepare(spaces, live)
    if subprocess.run(["mount", "--bind", room / "host", live / "b"], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        error = refused(spaces, workspace, captured)
        assert error.reason is Reason.EFFECT_NOT_PUBLISHABLE
        assert error.message.startswith("b cannot be changed")
        assert read_tree(live) == START
    finally:
        subprocess.run(["umount", live / "b"], check=True)
    publish(spaces, workspace, captured)
    assert read_tree(live) == AFTER


def test_where_taking_back_fails_too_the_next_use_goes_on_with_that(
    spaces: Workspaces, live: Path, prepared: tuple[str, Capture]
) -> None:
    workspace, captured = prepared
    passed: list[str] = []

    def action(name: str) -> None:
        passed.append(name)
        third = name == "publish.live.entry" and passed.count(name) == 3
        if third or name == "publish.back.live.entry":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    failpoints.action = action
    try:
        with pytest.raises(InterlockError) as caught:
            publish(spaces, workspace, captured)
    finally:
        failpoints.action = None
    assert caught.value.reason is Reason.UNAVAILABLE, "it is not settled"
    assert spaces._registry.records(workspace)[0].back
    spaces.look_for_drift(workspace)
    assert read_tree(live) == START
    assert spaces.get(workspace).head == captured.base_tree
