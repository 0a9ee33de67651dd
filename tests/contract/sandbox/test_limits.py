"""Every limit ends the whole tree and is named, whatever enforces it; nothing a step started outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import signal
from pathlib import Path

import pytest
from tests.support.arena import Arena

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox import orphans
from interlock.executor.sandbox.base import MIB, SECOND, Ending, Exceeded, SandboxResult


def token() -> str:
    """An argument that nobody else's processes have."""
    return f"token-{secrets.token_hex(8)}"


def alive(mark: str, place: Path | None = None) -> list[int]:
    """Processes that have this argument, or to which something below `place` is mounted.

    A kernel of its own hides a step's processes, but not those that it consists of.
    """
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            process = Path("/proc", name)
            if mark.encode() in (process / "cmdline").read_bytes() or (
                place is not None and f"{place}/".encode() in (process / "mountinfo").read_bytes()
            ):
                found.append(int(name))
        except OSError:
            continue
    return found


def marked_sleep(mark: str) -> str:
    """A command that sleeps under a mark."""
    return f"bash -c 'while :; do sleep 1000; done' {mark}"


def exceeded(result: SandboxResult, limit: str, ending: Ending = Ending.LIMIT) -> Exceeded:
    assert result.ending is ending, (
        result.ending,
        result.exit_code,
        result.signal,
        result.stderr.head[-500:],
    )
    assert result.exceeded is not None
    assert result.exceeded.limit == limit
    assert result.exceeded.measured >= result.exceeded.allowed
    assert result.exit_code is None
    assert result.enforced[limit]
    return result.exceeded


LEAVING = {
    "in the background": "{} & :",
    "a session of its own": "setsid {} & :",
    "orphans": "(setsid setsid {} &) ; (setsid {} &)",
    "closed descriptors": "(setsid {} </dev/null >/dev/null 2>&1 &)",
    "stopped": "{} & kill -STOP $!",
    "deaf": "(trap '' INT TERM HUP QUIT; setsid {} &)",
}
"""Ways to leave something behind."""

AT_ONCE = pytest.mark.parametrize(
    "ways", [tuple(LEAVING), ("closed descriptors",)], ids=["all", "where the output ends"]
)


def leaving(marks: dict[str, str]) -> str:
    """All of them at once, each under a mark of its own."""
    return "; ".join(LEAVING[how].replace("{}", marked_sleep(mark)) for how, mark in marks.items())


def left(marks: dict[str, str], place: Path) -> list[str]:
    """Those of which something is there."""
    return [how for how, mark in marks.items() if alive(mark, place)]


@AT_ONCE
async def test_nothing_outlives_a_step_that_ends(limited: Arena, ways: tuple[str, ...]) -> None:
    marks = {how: token() for how in ways}
    result = await limited.run(leaving(marks) + "; echo main done")
    assert (result.ending, result.exit_code, result.stdout.head) == (Ending.EXITED, 0, b"main done\n")
    assert left(marks, limited.root) == []


async def test_nothing_outlives_a_step_that_is_ended(arena: Arena) -> None:
    marks = {how: token() for how in LEAVING}
    mark, enough = token(), 5 * SECOND  # for all of them to start in a kernel of its own on a busy machine
    result = await arena.run(f"{leaving(marks)}; echo main done; {marked_sleep(mark)}", wall_us=enough)
    assert exceeded(result, "wall_us", Ending.TIMED_OUT).allowed == enough
    assert result.stdout.head == b"main done\n"
    assert alive(mark, arena.root) == []
    assert left(marks, arena.root) == []


async def test_cancelling_the_task_ends_the_tree_first(arena: Arena) -> None:
    begun, mark = asyncio.Event(), token()

    class Sink:
        async def chunk(self, stream: str, offset: int, data: bytes) -> None:
            begun.set()

    task = asyncio.create_task(
        arena.run(f"setsid {marked_sleep(mark)} & echo begun; sleep 1000", sink=Sink())
    )
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert alive(mark, arena.root) == []


async def test_a_step_cannot_end_the_end(arena: Arena) -> None:
    """It forks while it is being killed."""
    mark = token()
    code = """
import os, sys
while True:
    try: os.fork()
    except OSError: pass
"""
    result = await arena.run(
        argv=("/usr/bin/python3", "-I", "-c", code, mark), processes=40, wall_us=20 * SECOND
    )
    exceeded(result, "processes")
    assert alive(mark, arena.root) == []


async def test_processor_time_of_many(limited: Arena) -> None:
    mark = token()
    line = f"for i in 1 2 3; do bash -c 'while :; do :; done' {mark} & done; wait"
    exceeded(await limited.run(line, cpu_us=SECOND), "cpu_us")
    assert alive(mark, limited.root) == []


async def test_processor_time_of_those_that_have_ended(limited: Arena) -> None:
    line = "while :; do bash -c 'for i in {1..20000}; do :; done'; done"
    exceeded(await limited.run(line, cpu_us=SECOND), "cpu_us")


async def test_memory_of_many(limited: Arena) -> None:
    code = """
import os, time
for _ in range(20):
    if os.fork() == 0:
        keep = bytearray(os.urandom(1 << 20) * 10)
        time.sleep(1000)
time.sleep(1000)
"""
    mark = token()
    argv = ("/usr/bin/python3", "-I", "-c", code, mark)
    exceeded(await limited.run(argv=argv, memory_bytes=100 * MIB), "memory_bytes")
    assert alive(mark, limited.root) == []


async def test_a_fork_bomb(limited: Arena) -> None:
    line = "bomb() { bomb | bomb & }; bomb; sleep 1000"
    exceeded(await limited.run(line, processes=64, wall_us=20 * SECOND), "processes")


async def test_memory_of_a_process_whose_first_thread_has_ended(limited: Arena) -> None:
    # More than a kernel of its own may take beside it.
    chunks = 20 + limited.sandbox.overhead.memory // (8 * MIB)
    code = f"""
import threading, time
def fill():
    time.sleep(0.2)
    kept = [bytearray(b"x" * (8 << 20)) for _ in range({chunks})]
    time.sleep(1000)
threading.Thread(target=fill).start()
{ENDED}
"""
    exceeded(await limited.python(code, memory_bytes=96 * MIB), "memory_bytes")


async def test_as_many_processes_as_allowed(limited: Arena) -> None:
    code = """
import subprocess
children = [subprocess.Popen(["sleep", "0.3"]) for _ in range(31)]
print(sum(child.wait() for child in children))
"""
    result = await limited.python(code, processes=32)
    assert result.stdout.head == b"0\n", (result.exceeded, result.stderr.head)


async def test_open_files(arena: Arena) -> None:
    code = "import os, errno\ntry:\n while True: os.open('/dev/null', 0)\nexcept OSError as e: print(errno.errorcode[e.errno])"  # noqa: E501
    assert (await arena.python(code, open_files=64)).stdout.head == b"EMFILE\n"


@pytest.mark.parametrize("how", ["truncate -s 1T big", "fallocate -l 1G big", "head -c 100M /dev/zero > big"])
async def test_file_size(arena: Arena, how: str) -> None:
    result = await arena.run(f"exec {how}" if ">" not in how else how, file_bytes=10 * MIB)
    if result.ending is Ending.LIMIT:
        exceeded(result, "file_bytes")
    else:
        assert b"File too large" in result.stderr.head or result.exit_code == 128 + signal.SIGXFSZ
    assert (arena.upper / "big").stat().st_size <= 10 * MIB


async def test_bytes_written(arena: Arena) -> None:
    line = "i=0; while :; do head -c 4M /dev/urandom > f$i; i=$((i+1)); done"
    exceeded(await arena.run(line, written_bytes=40 * MIB), "written_bytes")


ENDED = """
import ctypes, platform
number = {"x86_64": 60, "aarch64": 93}[platform.machine()]
ctypes.CDLL(None).syscall(number, 0)
"""
"""The process's first thread ends, and with it what is at its number in /proc; the others go on."""

KEEPING = """
import mmap, os, time
file = os.open("file", os.O_RDWR | os.O_CREAT)
os.unlink("file")
for _ in range(24): os.write(file, bytes(2 << 20))
"""


@pytest.mark.parametrize(
    "keep",
    [
        "",
        "keep = mmap.mmap(file, 48 << 20); os.closerange(3, 64)",
        "os.truncate('/proc/self/fd/%d' % file, 49 << 20)",
    ],
    ids=["open", "mapped", "changed by its descriptor"],
)
async def test_bytes_written_to_a_file_that_is_deleted(arena: Arena, keep: str) -> None:
    if keep.startswith("keep") and os.geteuid():
        pytest.skip("only root may look at what others have mapped")
    result = await arena.python(KEEPING + keep + "\ntime.sleep(1000)", written_bytes=40 * MIB)
    exceeded(result, "written_bytes")


async def test_bytes_written_by_a_process_whose_first_thread_has_ended(arena: Arena) -> None:
    code = f"""
import os, threading, time
file = os.open("file", os.O_RDWR | os.O_CREAT)
os.unlink("file")
def fill():
    time.sleep(0.2)
    for _ in range(24): os.write(file, bytes(2 << 20))
    time.sleep(1000)
threading.Thread(target=fill).start()
{ENDED}
"""
    exceeded(await arena.python(code, written_bytes=40 * MIB), "written_bytes")


APART = """
import ctypes, os, time
libc = ctypes.CDLL(None)
def deleted(name):
    file = os.open(name, os.O_RDWR | os.O_CREAT)
    os.unlink(name)
    for _ in range(12): os.write(file, bytes(2 << 20))
    return file
file = deleted("first")
stack = ctypes.create_string_buffer(1 << 16)
top = ctypes.addressof(stack) + (1 << 16) & -16
CLONE_VM, CLONE_SIGHAND, CLONE_THREAD = 0x100, 0x800, 0x10000
assert libc.clone(libc.pause, ctypes.c_void_p(top), CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, None) > 0
os.close(file)
deleted("second")
time.sleep(1000)
"""
"""Each file is within the limit, and one of them is in the descriptors of a thread only, which are its own."""


async def test_bytes_written_to_a_file_that_only_a_thread_has_open(arena: Arena) -> None:
    exceeded(await arena.python(APART, written_bytes=40 * MIB), "written_bytes")


async def test_a_file_of_the_base_that_is_deleted_was_not_written(arena: Arena) -> None:
    if arena.sandbox.tier.backend != "bubblewrap":
        pytest.skip("one kind of overlay tells for all, and it takes as long as twenty looks")
    arena.write("large", bytes(48 * MIB))
    line = "exec 3<large; rm large; i=0; while [ $i -lt 24 ]; do sleep 0.1; i=$((i+1)); done; wc -c <&3"
    result = await arena.run(line, written_bytes=40 * MIB)
    assert result.stdout.head == b"50331648\n", result.exceeded


async def test_files_written(arena: Arena) -> None:
    line = "i=0; while :; do echo > f$i; i=$((i+1)); done"
    exceeded(await arena.run(line, written_files=500), "written_files")


async def test_tmp_is_bounded(arena: Arena) -> None:
    line = 'i=0; while head -c 4M /dev/zero > "$TMPDIR/f$i"; do i=$((i+1)); sleep 0.01; done'
    result = await arena.run(line, tmp_bytes=20 * MIB)
    if result.enforced["tmp_bytes"] == "mount":
        assert result.ending is Ending.EXITED
        assert b"No space left" in result.stderr.head
    else:
        exceeded(result, "tmp_bytes")


async def test_output(arena: Arena) -> None:
    exceeded(await arena.run("yes", output_bytes=20 * MIB), "output_bytes")


async def test_when_the_machine_has_no_memory_left_a_step_goes_first(arena: Arena, backend: str) -> None:
    if backend == "gvisor":
        pytest.skip("a kernel of its own, which has no such order")
    result = await arena.run("read -r order < /proc/$$/oom_score_adj; echo $order")
    assert result.stdout.head == b"1000\n"


def pipes() -> list[str]:
    """This process's ends of pipes."""
    names = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
    return sorted(name for name in names if name.startswith("pipe:"))


async def test_a_step_that_cannot_be_followed_is_ended(
    arena: Arena, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend.startswith("oci"):
        pytest.skip("its runtime is followed otherwise")
    assert (await arena.run("true")).exit_code == 0
    before = set(orphans.children()), pipes()

    def no_more(pid: int, flags: int = 0) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pidfd_open", no_more)
        with pytest.raises(InterlockError, match="Too many open files") as refused:
            await arena.run("true")
    assert refused.value.reason is Reason.SANDBOX_UNAVAILABLE
    assert (set(orphans.children()), pipes()) == before
