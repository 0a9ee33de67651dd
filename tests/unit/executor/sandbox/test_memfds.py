"""Files in memory count for who holds them, mapped or not, and once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from interlock.executor.sandbox import memfds, tree

SIZE = 8 << 20
HOLDER = f"""
import mmap, os, sys
fd = os.memfd_create("step")
os.write(fd, bytes({SIZE}))
again = os.dup(fd)
if sys.argv[1] == "mapped":
    keep = mmap.mmap(fd, {SIZE})
    for at in range(0, {SIZE}, 4096): keep[at]
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["mapped", "open"])
def holder(request: pytest.FixtureRequest) -> Iterator[int]:
    command = [sys.executable, "-I", "-S", "-c", HOLDER, request.param]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        process.communicate(b"")


def test_it_is_counted_once_however_it_is_held(holder: int) -> None:
    files = memfds.held([holder, holder])
    assert list(files.values()) == [SIZE]
    least, most = tree.exact_memory((holder,), {}), tree.exact_memory((holder,), files)
    shared = tree.look(os.getpid()).shared
    if shared >= SIZE:  # mapped: there already
        assert least == most >= SIZE
    else:
        assert most == least + SIZE


def test_other_files_and_others_processes_do_not_count() -> None:
    fd = os.memfd_create("ours")
    os.write(fd, bytes(4096))
    assert memfds.held([os.getpid()])[os.fstat(fd).st_ino] == 4096
    os.close(fd)
    with open(__file__) as file:
        assert os.fstat(file.fileno()).st_ino not in memfds.held([os.getpid()])
    assert memfds.held([2**22 + 1]) == {}
