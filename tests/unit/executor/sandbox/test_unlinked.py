from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.executor.sandbox import unlinked
from interlock.executor.sandbox.unlinked import Disk, Found

SIZE = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    # What is made within the same tick of the file system's clock counts, as if it were made later.
    found = Disk.of(str(tmp_path))
    return dataclasses.replace(found, since=found.since - 1)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(SIZE))
    fd = os.open(path, os.O_RDWR)
    path.unlink()
    yield fd
    os.close(fd)


def name_of(fd: int) -> tuple[int, int]:
    info = os.fstat(fd)
    return info.st_dev, info.st_ino


def kept(disk: Disk, name: tuple[int, int]) -> int:
    """What counts of one file; pytest itself keeps deleted ones for what it captures."""
    return unlinked.look([os.getpid()], disk).files.get(name, 0)


def test_a_deleted_file_counts_once_as_long_as_it_is_open(disk: Disk, file: int) -> None:
    second = os.dup(file)
    third = os.open(f"/proc/self/fd/{file}", os.O_RDONLY)
    assert SIZE <= kept(disk, name_of(file)) <= SIZE * 2
    os.close(second)
    os.close(third)


MAPPING = """
import mmap, os, sys
file = os.open(sys.argv[1], os.O_RDWR)
kept = mmap.mmap(file, 0)
os.unlink(sys.argv[1])
os.closerange(3, 64)
print("ready", flush=True)
input()
"""


def test_a_mapped_file_counts_without_a_descriptor(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(SIZE))
    command = [sys.executable, "-I", "-S", "-c", MAPPING, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        found = unlinked.look([process.pid], disk)
        process.communicate(b"\n")
    assert SIZE <= found.most(taken=9 * SIZE) <= 2 * SIZE
    # Who may not look at what others have mapped knows no more than how far.
    assert bool(found.files) != bool(found.mapped)


APART = """
import ctypes, os, sys
file = os.open(sys.argv[1], os.O_RDWR)
os.unlink(sys.argv[1])
libc = ctypes.CDLL(None)
stack = ctypes.create_string_buffer(1 << 16)
top = ctypes.addressof(stack) + (1 << 16) & -16
CLONE_VM, CLONE_SIGHAND, CLONE_THREAD = 0x100, 0x800, 0x10000
assert libc.clone(libc.pause, ctypes.c_void_p(top), CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, None) > 0
os.close(file)
print("ready", flush=True)
input()
os._exit(0)
"""


def test_a_file_counts_that_is_open_in_a_thread_only(disk: Disk, tmp_path: Path) -> None:
    """A thread that was made without CLONE_FILES has descriptors of its own; system call filters let that pass."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(SIZE))
    command = [sys.executable, "-I", "-S", "-c", APART, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        found = unlinked.look([process.pid], disk)
        process.communicate(b"\n")
    assert [SIZE <= size <= 2 * SIZE for size in found.files.values()] == [True]


@pytest.mark.parametrize("what", ["there", "elsewhere", "of the base", "in memory"])
def test_what_does_not_count(tmp_path: Path, disk: Disk, file: int, what: str) -> None:
    os.ftruncate(file, 0)
    os.fsync(file)
    if what == "there":
        fd = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    elif what == "in memory":
        fd = os.memfd_create("other")
    else:
        fd = os.dup(file)
    os.write(fd, bytes(SIZE))
    if what == "elsewhere":
        disk = dataclasses.replace(disk, kind=(4096, 1, 1))
    elif what == "of the base":
        disk = dataclasses.replace(disk, since=os.fstat(fd).st_ctime_ns)
    assert kept(disk, name_of(fd)) == 0
    os.close(fd)


def test_what_is_not_known_is_bounded_by_what_the_disk_lost() -> None:
    found = Found({(1, 2): 100}, {("8:1", "7"): 1000, ("8:1", "8"): 500})
    assert found.most(taken=0) == 100
    assert found.most(taken=700) == 700
    assert found.most(taken=99_999) == 1600


def test_processes_that_are_gone_hold_nothing(disk: Disk) -> None:
    assert unlinked.look([2**22 + 1], disk) == Found()


def test_a_disk_that_is_gone_has_lost_nothing(tmp_path: Path, disk: Disk) -> None:
    assert dataclasses.replace(disk, path=str(tmp_path / "absent")).taken() == 0
    assert dataclasses.replace(disk, free=disk.free + 10**15).taken() > 10**14
