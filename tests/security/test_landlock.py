"""What of the abuse list needs no /workspace, as real steps of real executors that confine by landlock.

The whole of that backend's own list is in tests/contract/sandbox.
"""

from __future__ import annotations

import os
import shlex
import socket
from pathlib import Path

import pytest
from tests.contract.sandbox.conftest import skip_unless_usable
from tests.contract.sandbox.test_limits import alive, marked_sleep, token
from tests.support.service_arena import PLANTED, Kind
from tests.support.service_arena import ServiceArena as Arena

from interlock.executor.sandbox.base import MIB, Ending

HOLDS = "import time; held = b'x' * (400 << 20); time.sleep(1000)"


@pytest.fixture(params=["of root", "of a user"])
def kind(request: pytest.FixtureRequest, reasons: dict[str, str]) -> Kind:
    """An executor that works here."""
    ordinary = request.param == "of a user"
    if ordinary and os.geteuid() != 0:
        pytest.skip("every executor here is an ordinary user's")
    skip_unless_usable("landlock", reasons)
    return Kind("landlock", ordinary)


@pytest.mark.parametrize(
    "payload",
    [
        "cat /etc/shadow",
        "ls -A /root /home",
        "echo x > /etc/x",
        "echo x > /tmp/interlock-abuse-made",
        "echo x >> /usr/bin/env",
        "echo x > /proc/sys/kernel/hostname",
        "mknod device c 1 1 && cat device",
        "unshare -Ur id",
        "mount -t tmpfs none .",
        "ls -A /proc/1/root",
    ],
)
async def test_it_is_refused(arena: Arena, payload: str) -> None:
    result = await arena.run(payload)
    assert result.exit_code not in (0, None)
    assert (result.stdout.total, result.changes) == (0, {})
    assert not os.path.lexists("/etc/x")  # noqa: ASYNC240
    assert not os.path.lexists("/tmp/interlock-abuse-made")  # noqa: ASYNC240


async def test_a_link_out_leads_nowhere(arena: Arena, open_dir: Path) -> None:
    outside = open_dir / "outside"
    outside.write_text("untouched")
    outside.chmod(0o666)
    result = await arena.run(
        f"ln -s {outside} out; echo x > out; cat out; ln {outside} hard; echo x > {outside}"
    )
    assert result.exit_code == 1
    assert result.stdout.total == 0
    assert result.changes == {"out": "ADDED"}
    assert outside.read_text() == "untouched"


async def test_the_executor_is_out_of_reach(arena: Arena) -> None:
    assert arena.server.process is not None
    pid = arena.server.process.pid
    found = await arena.run(
        f"kill -9 {pid}; cat /proc/{pid}/environ; env; ls -l /proc/{pid}/fd; cat /proc/{pid}/mem"
    )
    for text in (*PLANTED, *PLANTED.values(), "INTERLOCK"):
        assert text.encode() not in found.stdout.head + found.stderr.head
    assert b"not permitted" in found.stderr.head
    assert arena.server.process.poll() is None


NURSERY = r"""
import ctypes, os, signal, sys
libc, pid = ctypes.CDLL(None, use_errno=True), int(sys.argv[1])
buffer = ctypes.create_string_buffer(64)
def call(name, number, *arguments):
    if os.uname().machine == "x86_64" and libc.syscall(number, *arguments) != -1:
        print("done:", name)
call("ptrace", 101, 16, pid, 0, 0)
call("process_vm_readv", 310, pid, buffer, 1, buffer, 1, 0)
call("pidfd_getfd", 438, libc.syscall(434, pid, 0), 3, 0)
call("prlimit", 302, pid, 7, buffer, None)
call("setpriority", 141, 0, pid, 19)
call("sched_setaffinity", 203, pid, 8, b"\1" + bytes(7))
call("migrate_pages", 256, pid, 0, buffer, buffer)
call("kcmp", 312, os.getpid(), pid, 0, 1, 1)
call("kill", 62, pid, signal.SIGSTOP)
call("kill its group", 62, -pid, signal.SIGKILL)
for name in ("environ", "mem", "maps", "fd", "fd/3", "cwd/etc/shadow", "root/etc/shadow", "oom_score_adj", "comm"):
    for flags in (os.O_RDONLY, os.O_WRONLY):
        try:
            os.open(f"/proc/{pid}/{name}", flags)
            print("done:", name, flags)
        except OSError:
            pass
print("tried")
"""


def nursery_of(executor: int) -> str:
    """The process that starts an executor's steps."""
    tasks = Path(f"/proc/{executor}/task").iterdir()
    pids = [pid for task in tasks for pid in (task / "children").read_text().split()]
    (found,) = (pid for pid in pids if b"interlock-nursery" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return found


def state_of(pid: str) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_what_starts_steps_is_out_of_their_reach(arena: Arena) -> None:
    assert arena.server.process is not None
    assert (await arena.run("true")).exit_code == 0
    nursery = nursery_of(arena.server.process.pid)
    assert (await arena.python(NURSERY, nursery)).stdout.head == b"tried\n"
    assert state_of(nursery) in "SR"


async def test_there_is_no_network(arena: Arena) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        code = f"import socket\ntry: socket.create_connection(('127.0.0.1', {port}), 3)\nexcept OSError: print('no')"
        assert (await arena.python(code)).stdout.head == b"no\n"
        with pytest.raises(BlockingIOError):
            listener.accept()


async def test_nothing_outlives_its_time(arena: Arena) -> None:
    mark = token()
    result = await arena.run(f"(setsid {marked_sleep(mark)} &); trap '' TERM; sleep 1000", wall_us=500_000)
    assert result.ending is Ending.TIMED_OUT
    assert alive(mark) == []


@pytest.mark.parametrize(
    ("limit", "payload", "value"),
    [
        ("cpu_us", "while :; do :; done", 1_000_000),
        ("memory_bytes", f"python3 -Ic {shlex.quote(HOLDS)}", 64 * MIB),
        ("processes", "bomb() { bomb | bomb & }; bomb; sleep 1000", 64),
        ("written_bytes", "head -c 8M /dev/urandom > f", 4 * MIB),
        ("output_bytes", "yes", 50 * MIB),
    ],
)
async def test_limits(arena: Arena, limit: str, payload: str, value: int) -> None:
    result = await arena.run(payload, **{limit: value})
    assert result.ending is Ending.LIMIT, result
    assert result.exceeded is not None
    assert result.exceeded.limit == limit
    assert result.exceeded.measured >= result.exceeded.allowed == value
