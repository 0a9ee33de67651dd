"""A store at its cap and a disk without space: typed errors, nothing half-written, and the same step works after."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.trees import read_tree

from interlock.common.errors import InterlockError, Reason
from interlock.executor.snapshots.database import disk_full
from interlock.executor.workspaces import DirectorySource, Workspaces
from interlock.executor.workspaces.collector import Ask, Retention

MIB = 1 << 20
CAP = 4 * MIB


def noise(count: int) -> bytes:
    """Bytes that do not compress."""
    return os.urandom(count)


def refused(do: Callable[[], object], limit: str) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        do()
    assert caught.value.reason is Reason.STORE_FULL, caught.value
    assert caught.value.metadata["limit"] == limit
    assert caught.value.fix
    return caught.value


@pytest.fixture
def capped(open_spaces: Callable[..., Workspaces]) -> Workspaces:
    return open_spaces(max_bytes=CAP, retention=Retention(timedelta(0), timedelta(0)))


def test_an_import_beyond_the_cap_leaves_nothing(capped: Workspaces, live: Path) -> None:
    for number in range(40):
        (live / f"f{number}").write_bytes(noise(200_000))
    error = refused(lambda: capped.create(DirectorySource(live)), "store_max_bytes")
    assert error.metadata["allowed"] == str(CAP)
    assert int(error.metadata["measured"]) + int(error.metadata["wanted"]) > CAP
    assert str(CAP) in error.message
    assert "INTERLOCK_EXECUTOR_STORE_MAX_BYTES" in error.fix
    assert capped.list_workspaces() == []
    assert list(capped._layout.workspaces.iterdir()) == []
    for number in range(30):
        (live / f"f{number}").unlink()
    made = capped.create(DirectorySource(live))  # what the failed one left has been collected
    assert made.entries == 10
    assert capped.usage().disk_bytes < CAP


def test_a_failed_import_that_cannot_be_forgotten_is_forgotten_before_the_next(
    capped: Workspaces, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk can be so full that not even the entry of the failed import can be taken out again."""
    (live / "big").write_bytes(noise(CAP + MIB))

    def full(workspace: str) -> None:
        raise disk_full()

    with monkeypatch.context() as patch:
        patch.setattr(capped._registry, "forget", full)
        refused(lambda: capped.create(DirectorySource(live)), "store_max_bytes")
    (live / "big").unlink()
    assert capped.create(DirectorySource(live)).entries == 0
    assert len(capped.list_workspaces()) == 1


def test_a_big_file_beyond_the_cap_leaves_nothing(capped: Workspaces, live: Path) -> None:
    (live / "big").write_bytes(noise(CAP + MIB))
    refused(lambda: capped.create(DirectorySource(live)), "store_max_bytes")
    assert [path for path in (capped.store.directory / "big").rglob("*") if path.is_file()] == []
    (live / "big").write_bytes(noise(CAP - MIB))
    assert capped.create(DirectorySource(live)).content_bytes == CAP - MIB


def test_a_capture_beyond_the_cap_collects_first_and_then_refuses(capped: Workspaces, live: Path) -> None:
    (live / "keep").write_bytes(noise(MIB))
    workspace = capped.create(DirectorySource(live))
    before = read_tree(live)
    for _ in range(20):  # 20 MiB of previews that nobody decided: each is collected for the next
        capped.edit(workspace.id, workspace.head, "new", noise(MIB))
    assert capped.usage().disk_bytes < CAP

    fork = capped.fork(workspace.id)
    for number in range(8):
        (fork.upper / f"n{number}").write_bytes(noise(MIB // 2))
    refused(lambda: capped.capture(fork), "store_max_bytes")
    assert read_tree(live) == before
    assert capped.get(workspace.id).head == workspace.head
    for number in range(6):
        (fork.upper / f"n{number}").unlink()
    captured = capped.capture(fork)
    done = capped.publish(workspace.id, captured.base_tree, captured.result_tree)
    assert done.head_tree == captured.result_tree
    assert (live / "n7").stat().st_size == MIB // 2


def test_others_changes_beyond_the_cap_stop_a_publication_and_nothing_else(
    capped: Workspaces, live: Path
) -> None:
    (live / "a").write_bytes(b"a")
    workspace = capped.create(DirectorySource(live))
    preview = capped.edit(workspace.id, workspace.head, "a", b"published")
    capped.collector.effects = lambda: [
        (workspace.id, preview.base_tree),
        (workspace.id, preview.result_tree),
    ]
    (live / "theirs").write_bytes(noise(CAP))
    publish = lambda: capped.publish(workspace.id, preview.base_tree, preview.result_tree, key="k")  # noqa: E731
    refused(publish, "store_max_bytes")
    assert (live / "a").read_bytes() == b"a"
    capped.store.max_bytes = 2 * CAP
    assert publish().how == "merged"
    assert (live / "a").read_bytes() == b"published"
    assert (live / "theirs").stat().st_size == CAP


@pytest.fixture
def small(room: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    place = room / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "tmpfs", place],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    held = [
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.lexists(f"/proc/self/fd/{fd}")
    ]
    subprocess.run(["umount", "--lazy", place], check=True)
    assert [path for path in held if path.startswith(str(place))] == []


class Filler:
    """Takes the free space of a file system, all but a little."""

    def __init__(self, place: Path) -> None:
        self.path = place / "filler"

    def fill(self, leave: int = 0) -> None:
        with open(self.path, "ab", buffering=0) as file:
            while True:
                found = os.statvfs(self.path.parent)
                free = found.f_bavail * found.f_frsize - leave
                if free <= 0:
                    return
                try:
                    file.write(b"\0" * min(free, MIB))
                except OSError:
                    return

    def empty(self) -> None:
        self.path.unlink()


@pytest.mark.parametrize("leave", [0, 4096, 16384, 65536, 262144, 524288, 786432])
def test_a_full_disk_under_the_executor(
    small: Path, live: Path, open_spaces: Callable[..., Workspaces], leave: int
) -> None:
    """However much is left when the space runs out: what was refused changed nothing, and works afterwards."""
    (live / "a").write_bytes(b"a" * 100)
    spaces = open_spaces("small/executor")
    workspace = spaces.create(DirectorySource(live))
    filler = Filler(small)
    for round_number in range(3):
        base = spaces.get(workspace.id).head
        before = read_tree(live)
        content = noise(600_000)
        filler.fill(leave)
        outcomes: list[Reason] = []
        untouched = False

        def step(base: str = base, content: bytes = content, key: str = f"k{round_number}") -> str:
            done = spaces.edit(workspace.id, base, "new", content)
            return spaces.publish(workspace.id, done.base_tree, done.result_tree, key=key).head_tree

        try:
            head = step()
        except InterlockError as error:
            outcomes.append(error.reason)
            # What has begun is finished later; what was refused has changed nothing.
            untouched = read_tree(live) == before
            filler.empty()
            head = step()
        else:
            filler.empty()
        assert outcomes in ([], [Reason.STORE_FULL], [Reason.UNAVAILABLE])
        assert untouched or outcomes != [Reason.STORE_FULL]
        assert spaces.get(workspace.id).head == head
        assert (live / "new").read_bytes() == content
        assert read_tree(live) == read_tree(spaces._layout.base(workspace.id))
        assert spaces.read_file(workspace.id, "new", tree=head, limit=MIB).data == content


@pytest.mark.parametrize("leave", [0, 200_000, 1_000_000])
def test_a_full_disk_during_an_import_and_a_fork(
    small: Path, live: Path, open_spaces: Callable[..., Workspaces], leave: int
) -> None:
    for number in range(10):
        (live / f"f{number}").write_bytes(noise(200_000))
    spaces = open_spaces("small/executor")
    filler = Filler(small)
    filler.fill(leave)
    refused(lambda: spaces.create(DirectorySource(live)), "disk")
    assert spaces.list_workspaces() == []
    filler.empty()
    workspace = spaces.create(DirectorySource(live))
    filler.fill(leave)
    refused(lambda: spaces.fork(workspace.id), "disk")
    assert list(spaces._layout.forks(workspace.id).iterdir()) == []
    filler.empty()
    fork = spaces.fork(workspace.id)
    assert read_tree(fork.upper) == read_tree(live)
    spaces.discard(fork)


def test_a_full_disk_under_the_workspace_alone(small: Path, open_spaces: Callable[..., Workspaces]) -> None:
    live = small / "live"
    live.mkdir()
    (live / "a").write_bytes(b"a")
    spaces = open_spaces()
    workspace = spaces.create(DirectorySource(live))
    before = read_tree(live)
    done = spaces.edit(workspace.id, workspace.head, "new", noise(2 * MIB))
    filler = Filler(small)
    filler.fill(MIB)
    publish = lambda: spaces.publish(workspace.id, done.base_tree, done.result_tree, key="k")  # noqa: E731
    refused(publish, "disk")
    assert read_tree(live) == before
    assert read_tree(spaces._layout.base(workspace.id)) == before
    filler.empty()
    publish()
    assert (live / "new").stat().st_size == 2 * MIB


def test_a_full_disk_can_be_emptied_by_collecting(
    small: Path, live: Path, open_spaces: Callable[..., Workspaces]
) -> None:
    (live / "a").write_bytes(b"a")
    spaces = open_spaces("small/executor", retention=Retention(timedelta(0), timedelta(0)))
    workspace = spaces.create(DirectorySource(live))
    for number in range(8):
        spaces.edit(workspace.id, workspace.head, "big", noise(700_000 + number))
    filler = Filler(small)
    filler.fill()
    done = spaces.collector.collect(Ask())
    assert done.pruned.trees == 8
    assert done.swept.freed > 5_000_000
    found = os.statvfs(small)
    assert found.f_bavail * found.f_frsize > 4_000_000, "the space is the file system's again"
    capture = spaces.edit(workspace.id, workspace.head, "big", noise(700_000))
    spaces.publish(workspace.id, capture.base_tree, capture.result_tree)
