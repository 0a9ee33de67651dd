"""Every limit of a workspace and of an effect: its name, what was measured, what to do; and what is just allowed."""

from __future__ import annotations

import dataclasses
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.executor.config import ExecutorConfig
from interlock.executor.snapshots.model import Limits
from interlock.executor.workspaces import ArchiveSource, DirectorySource, Workspaces

Write = Callable[[Path], None]
MIB = 1 << 20


def files(count: int, size: int = 1) -> Write:
    """So many files of different content."""

    def write(top: Path) -> None:
        for number in range(count):
            (top / f"f{number}").write_bytes(b"%d" % (number % 10) * size)

    return write


def nested(levels: int) -> Write:
    """One file below so many levels, itself counted."""

    def write(top: Path) -> None:
        path = top.joinpath(*["d"] * (levels - 1))
        path.mkdir(parents=True, exist_ok=True)
        (path / "file").write_bytes(b"x")

    return write


WORKSPACE = [
    pytest.param(Limits(entries=5), files(5), files(6), "entries", 5, 6, "MAX_FILES", id="files"),
    pytest.param(
        Limits(content_bytes=100), files(10, 10), files(11, 10), "content_bytes", 100, 110, "MAX_MIB", id="bytes"
    ),
    pytest.param(
        Limits(file_bytes=100), files(1, 100), files(1, 101), "file_bytes", 100, 101, "MAX_FILE_MIB", id="one file"
    ),
    pytest.param(
        Limits(file_bytes=2 * MIB), files(1, 2 * MIB), files(1, 2 * MIB + 1), "file_bytes", 2 * MIB, 2 * MIB + 1,
        "MAX_FILE_MIB", id="one big file",
    ),
    pytest.param(Limits(depth=4), nested(4), nested(5), "depth", 4, 5, "MAX_DEPTH", id="depth"),
]  # fmt: skip
EFFECT = [
    pytest.param(Limits(changes=5), files(5), files(6), "changes", 5, 6, "EFFECT_MAX_FILES", id="changed paths"),
    pytest.param(
        Limits(effect_bytes=100), files(10, 10), files(11, 10), "effect_bytes", 100, 110, "EFFECT_MAX_MIB",
        id="new bytes",
    ),
]  # fmt: skip


def check(error: InterlockError, name: str, allowed: int, measured: int, variable: str) -> None:
    assert error.reason is Reason.WORKSPACE_LIMIT_EXCEEDED
    assert error.metadata["limit"] == name
    assert (error.metadata["allowed"], error.metadata["measured"]) == (str(allowed), str(measured))
    assert str(allowed) in error.message
    assert str(measured) in error.message
    assert variable in error.fix


@pytest.mark.parametrize(("limits", "just", "beyond", "name", "allowed", "measured", "variable"), WORKSPACE)
class TestOfAWorkspace:
    def test_import(
        self, open_spaces: Callable[..., Workspaces], live: Path, limits: Limits, just: Write, beyond: Write,
        name: str, allowed: int, measured: int, variable: str,
    ) -> None:  # fmt: skip
        spaces = open_spaces(limits=limits)
        beyond(live)
        with pytest.raises(InterlockError) as caught:
            spaces.create(DirectorySource(live))
        check(caught.value, name, allowed, measured, variable)
        assert spaces.list_workspaces() == []
        other = live.parent / "other"
        other.mkdir()
        just(other)
        assert spaces.create(DirectorySource(other)).entries > 0

    def test_archive(
        self, open_spaces: Callable[..., Workspaces], live: Path, limits: Limits, just: Write, beyond: Write,
        name: str, allowed: int, measured: int, variable: str,
    ) -> None:  # fmt: skip
        spaces = open_spaces(limits=limits)
        beyond(live)
        archive = live.parent / "a.tar"
        with tarfile.open(archive, "w") as made:
            for path in sorted(live.rglob("*")):
                made.add(path, path.relative_to(live), recursive=False)
        with pytest.raises(InterlockError) as caught:
            spaces.create(ArchiveSource(archive))
        check(caught.value, name, allowed, measured, variable)
        assert spaces.list_workspaces() == []

    @pytest.mark.parametrize("copy_forks", [True, False], ids=["copy", "overlay"])
    def test_what_an_effect_makes_of_it(
        self, open_spaces: Callable[..., Workspaces], live: Path, limits: Limits, just: Write, beyond: Write,
        name: str, allowed: int, measured: int, variable: str, copy_forks: bool,
    ) -> None:  # fmt: skip
        spaces = open_spaces(limits=limits, copy_forks=copy_forks)
        workspace = spaces.create(DirectorySource(live))
        fork = spaces.fork(workspace.id)
        beyond(fork.upper)
        with pytest.raises(InterlockError) as caught:
            spaces.capture(fork)
        check(caught.value, name, allowed, measured, variable)
        spaces.discard(fork)
        fork = spaces.fork(workspace.id)
        just(fork.upper)
        captured = spaces.capture(fork)
        spaces.publish(workspace.id, captured.base_tree, captured.result_tree)


@pytest.mark.parametrize("copy_forks", [True, False], ids=["copy", "overlay"])
@pytest.mark.parametrize(("limits", "just", "beyond", "name", "allowed", "measured", "variable"), EFFECT)
def test_of_an_effect(
    open_spaces: Callable[..., Workspaces], live: Path, limits: Limits, just: Write, beyond: Write, name: str,
    allowed: int, measured: int, variable: str, copy_forks: bool,
) -> None:  # fmt: skip
    spaces = open_spaces(limits=limits, copy_forks=copy_forks)
    files(50, 50)(live / ".") if not (live / "f0").exists() else None
    for path in live.iterdir():
        path.rename(live / f"old-{path.name}")
    workspace = spaces.create(DirectorySource(live))  # a workspace may be larger than one effect
    fork = spaces.fork(workspace.id)
    beyond(fork.upper)
    with pytest.raises(InterlockError) as caught:
        spaces.capture(fork)
    check(caught.value, name, allowed, measured, variable)
    spaces.discard(fork)
    fork = spaces.fork(workspace.id)
    just(fork.upper)
    assert len(spaces.capture(fork).changes) > 0


def test_an_edit_has_the_same_limits(open_spaces: Callable[..., Workspaces], live: Path) -> None:
    spaces = open_spaces(limits=Limits(depth=3, file_bytes=100, effect_bytes=50, entries=4))
    workspace = spaces.create(DirectorySource(live))

    def edit(path: str, size: int) -> InterlockError:
        with pytest.raises(InterlockError) as caught:
            spaces.edit(workspace.id, workspace.head, path, b"x" * size)
        return caught.value

    check(edit("a/b/c/d", 1), "depth", 3, 4, "MAX_DEPTH")
    check(edit("a", 51), "effect_bytes", 50, 51, "EFFECT_MAX_MIB")
    too_large = edit("a", 101)
    assert (too_large.reason, too_large.metadata["measured"]) == (Reason.FILE_TOO_LARGE, "101")
    assert "MAX_FILE_MIB" in too_large.fix
    spaces.edit(workspace.id, workspace.head, "a/b/c", b"x" * 50)


def test_every_limit_is_configured(tmp_path: Path) -> None:
    env = {
        "INTERLOCK_DATA_DIR": str(tmp_path),
        "INTERLOCK_TOKEN": "t",
        "INTERLOCK_WORKSPACE_MAX_FILES": "11",
        "INTERLOCK_WORKSPACE_MAX_MIB": "12",
        "INTERLOCK_WORKSPACE_MAX_FILE_MIB": "13",
        "INTERLOCK_WORKSPACE_MAX_DEPTH": "14",
        "INTERLOCK_EFFECT_MAX_FILES": "15",
        "INTERLOCK_EFFECT_MAX_MIB": "16",
        "INTERLOCK_EXECUTOR_STORE_MAX_BYTES": "17000000",
        "INTERLOCK_COLLECT_GRACE_SECONDS": "180",
    }
    config = ExecutorConfig.from_env(env)
    assert dataclasses.astuple(config.workspace_limits) == (11, 12 * MIB, 13 * MIB, 14, 15, 16 * MIB)
    assert (config.store_max_bytes, config.collect_grace_seconds) == (17_000_000, 180)
    for name in env:
        if name.startswith(("INTERLOCK_W", "INTERLOCK_E", "INTERLOCK_C")):
            with pytest.raises(InterlockError) as caught:
                ExecutorConfig.from_env({**env, name: "-1"})
            assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, name)
    unset = ExecutorConfig.from_env({"INTERLOCK_DATA_DIR": str(tmp_path), "INTERLOCK_TOKEN": "t"})
    assert unset.workspace_limits == Limits()
    assert unset.store_max_bytes is None
