"""Paths that nobody should give, in trees of links that lead everywhere, while somebody swaps directories for links.

Around the workspace lies what must never be read (a secret in every file) and never be written (compared at the end).
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from tests.support.fuzz.driving import hunt, lengths
from tests.support.trees import read_tree

from interlock.common.errors import InterlockError
from interlock.executor.files import Root, kernel, list_directory, read_regular, remove_tree
from interlock.executor.workspaces import DirectorySource, Workspaces

SECRET = b"what nobody may see"
PARTS = [
    "a", "d", "e", "f", "out", "up", "root", "loop", "self", "abs", "deep", "..", ".", "", "proc", "outside",
    "secret",
    "a\0", "\n", "\udcff", "x" * 256, "~", "*", "$HOME", "%2e%2e", "..\\", "\u2024\u2024", "fd", "cwd",
]  # fmt: skip
REASONS = {
    "PATH_OUTSIDE_WORKSPACE", "PATH_NOT_FOUND", "PATH_IS_DIRECTORY", "PATH_NOT_REGULAR", "INVALID_ARGUMENT",
    "PERMISSION_DENIED", "WORKSPACE_LIMIT_EXCEEDED", "WORKSPACE_DRIFTED", "WORKSPACE_HEAD_MOVED", "WORKSPACE_BUSY",
}  # fmt: skip

paths = st.one_of(
    st.lists(st.sampled_from(PARTS), max_size=6).map("/".join),
    st.lists(st.sampled_from(PARTS), max_size=5).map(lambda parts: "/" + "/".join(parts)),
    st.text(alphabet="./ad\0\n~", max_size=10),
    st.sampled_from(
        [
            "/proc/self/root/etc/passwd",
            "/proc/self/cwd",
            "d/" * 3000,
            "/dev/stdin",
            "out/secret",
            "up/outside/secret",
        ]
    ),
)


def furnish(here: Path) -> Path:
    """`inside` with links to everywhere, `outside` with secrets; the workspace is `inside`."""
    inside, outside = here / "inside", here / "outside"
    for directory in (inside / "d" / "deep", inside / "e", outside / "deep"):
        directory.mkdir(parents=True)
    for file in (
        outside / "secret",
        outside / "f",
        outside / "a",
        outside / "deep" / "f",
        here / "f",
        here / "a",
    ):
        file.write_bytes(SECRET)
    for file in ("a", "d/f", "d/deep/f", "e/f"):
        (inside / file).write_bytes(b"plain\n")
    links = {
        "out": "../outside", "up": "..", "root": "/", "loop": "loop", "self": ".", "abs": str(outside / "secret"),
        "d/out": "../../outside", "d/back": "../e", "e/loop1": "loop2", "e/loop2": "loop1", "proc": "/proc/self/root",
    }  # fmt: skip
    for name, target in links.items():
        (inside / name).symlink_to(target)
    return inside


@contextmanager
def swapping(inside: Path, outside: Path) -> Iterator[None]:
    """Somebody who swaps `d` for a link to what is outside, and back, as fast as they can."""
    stop = threading.Event()
    (inside / "link").symlink_to(outside)

    def swap() -> None:
        with Root.open(inside) as root:
            while not stop.is_set():
                try:
                    kernel.exchange(root.fd, b"d", root.fd, b"link")
                except FileNotFoundError:
                    return  # one of them was removed

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture(params=["openat2", "walk"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of opening: in the kernel, and component by component."""
    if request.param == "walk":
        monkeypatch.setattr(kernel.state, "openat2", False)
    elif not kernel.has_openat2():
        pytest.skip("this kernel has no openat2")
    return str(request.param)


@pytest.fixture
def here() -> Iterator[Path]:
    path = Path(
        tempfile.mkdtemp(prefix="interlock-fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    )
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def refused(call: Any, *arguments: Any, **more: Any) -> Any:
    """The answer, or None where it was refused by one of the reasons there are for paths."""
    try:
        return call(*arguments, **more)
    except InterlockError as error:
        reason = error.reason.value
    assert reason in REASONS
    return None


@pytest.mark.parametrize("raced", [False, True], ids=["still", "raced"])
@lengths(120, 20_000)
def test_nothing_outside_is_read(here: Path, way: str, examples: int, raced: bool) -> None:
    inside = furnish(here)

    def check(path: str) -> None:
        found = refused(read_regular, root, path, limit=4096)
        assert found is None or SECRET not in found.data
        listed = refused(list_directory, root, path)
        assert listed is None or "secret" not in {entry.name for entry in listed}

    before = read_tree(here / "outside")
    with Root.open(inside) as root:
        if raced:
            with swapping(inside, here / "outside"):
                hunt(examples, check, paths)
        else:
            hunt(examples, check, paths)
    assert read_tree(here / "outside") == before


@lengths(60, 5000)
def test_nothing_outside_is_removed(here: Path, way: str, examples: int) -> None:
    """Deleting a directory while it is swapped for a link."""
    counter = itertools.count()

    def check(_: int) -> None:
        place = here / str(next(counter))
        inside = furnish(place)
        before = read_tree(place / "outside")
        with swapping(inside, place / "outside"), Root.open(inside) as root:
            try:
                remove_tree(root.fd, b"d")
            except OSError:
                pass  # it met the swap
        assert read_tree(place / "outside") == before
        shutil.rmtree(place)

    hunt(examples // 6, check, st.integers(0, 10**6))


@pytest.mark.parametrize("raced", [False, True], ids=["still", "raced"])
@lengths(15, 2000)
def test_nothing_outside_is_written_by_edits_and_publications(here: Path, examples: int, raced: bool) -> None:
    """An edit of any path, published into a directory that is being swapped."""
    inside = furnish(here)
    outside = {name: read_tree(here / name) for name in ("outside",)}
    spaces = Workspaces(here / "state", owner=None, copy_forks=True)
    workspace = spaces.create(DirectorySource(inside)).id

    def check(path: str, content: bytes) -> None:
        head = spaces.get(workspace).head
        seen = refused(spaces.read_file, workspace, path, tree=head, limit=4096)
        assert seen is None or SECRET not in seen.data
        made = refused(spaces.edit, workspace, head, path, content)
        if made is None:
            return
        refused(spaces.publish, workspace, made.base_tree, made.result_tree)
        assert {name: read_tree(here / name) for name in outside} == outside
        assert (here / "f").read_bytes() == (here / "a").read_bytes() == SECRET
        assert set(os.listdir(here)) == {"inside", "outside", "state", "f", "a"}

    wanted = st.one_of(paths, st.sampled_from(["d/f", "d/new", "d/deep/f", "d/deep/new", "e/f", "new"]))
    try:
        if raced:
            with swapping(inside, here / "outside"):
                hunt(examples, check, wanted, st.sampled_from([b"", b"new\n", b"other\n"]))
        else:
            hunt(examples, check, wanted, st.sampled_from([b"", b"new\n", b"other\n"]))
    finally:
        spaces.close()
