"""Every limit ends the whole tree and is named, however it is enforced; nothing is left alive."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from tests.support.arena import Arena as Inner
from tests.support.service_arena import BASE, Ended
from tests.support.service_arena import ServiceArena as Arena

from interlock.executor.sandbox.base import MIB, Ending, Exceeded
from interlock.v1 import executor_pb2 as pb

SECOND = 1_000_000


def left_alive(arena: Arena | Inner) -> list[int]:
    """Processes whose workspace is one of this arena's forks."""
    marker = os.fsencode(arena.server.state if isinstance(arena, Arena) else arena.root)
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if marker in Path(f"/proc/{name}/mounts").read_bytes() and int(name) != os.getpid():
                    found.append(int(name))
            except OSError:
                continue
    return found


def exceeded(result: Ended, limit: str, ending: Ending = Ending.LIMIT) -> Exceeded:
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
    assert limit in result.enforced
    return result.exceeded


async def test_wall_time(arena: Arena) -> None:
    # gVisor's kernel starts within the time.
    wall = 5 * SECOND if arena.sandbox.tier.backend == "gvisor" else SECOND // 2
    result = await arena.run("echo begun; sleep 1000", wall_us=wall)
    assert exceeded(result, "wall_us", Ending.TIMED_OUT).allowed == wall
    assert result.stdout.head == b"begun\n"
    assert left_alive(arena) == []


@pytest.mark.parametrize(
    "payload",
    [
        "trap '' INT TERM HUP QUIT; while :; do sleep 1; done",
        "kill -STOP $$",
        "(setsid sleep 1000 &) ; (setsid sleep 1000 &); sleep 1000",
    ],
    ids=["ignores signals", "stops itself", "daemons"],
)
async def test_nothing_resists_the_end(arena: Arena, payload: str) -> None:
    result = await arena.run(payload, wall_us=SECOND // 2)
    assert result.ending is Ending.TIMED_OUT
    assert left_alive(arena) == []


async def test_cpu_time_of_many_processes(arena: Arena) -> None:
    result = await arena.run("for i in 1 2 3; do (while :; do :; done) & done; wait", cpu_us=SECOND)
    exceeded(result, "cpu_us")
    assert left_alive(arena) == []


async def test_cpu_time_of_one_process(arena: Arena) -> None:
    exceeded(await arena.python("while True: pass", cpu_us=SECOND), "cpu_us")


async def test_memory_of_one_process(arena: Arena) -> None:
    code = "import time\nheld = b'x' * (400 << 20)\ntime.sleep(1000)"
    exceeded(await arena.python(code, memory_bytes=64 * MIB), "memory_bytes")
    assert left_alive(arena) == []


async def test_memory_of_many_processes(arena: Arena) -> None:
    code = """
import os, time
for _ in range(20):
    if os.fork() == 0:
        keep = bytearray(os.urandom(1 << 20) * 10)
        time.sleep(1000)
time.sleep(1000)
"""
    exceeded(await arena.python(code, memory_bytes=100 * MIB), "memory_bytes")
    assert left_alive(arena) == []


async def test_shared_memory_is_counted_once(arena: Arena) -> None:
    code = """
import os, time
keep = bytearray(os.urandom(1 << 20) * 40)
children = [os.fork() for _ in range(1)]
for _ in range(6):
    if children and children[-1]: children.append(os.fork())
if children[-1] == 0: time.sleep(0.4); os._exit(0)
while True:
    try: os.wait()
    except ChildProcessError: break
print("fine")
"""
    result = await arena.python(code, memory_bytes=128 * MIB)
    assert result.ending is Ending.EXITED, result.exceeded
    assert result.stdout.head.endswith(b"fine\n")


async def test_memory_hidden_in_a_memfd(arena: Arena) -> None:
    code = """
import os, time
fds = [os.memfd_create(str(i)) for i in range(40)]
for fd in fds:
    for _ in range(10): os.write(fd, b"x" * (1 << 20))
time.sleep(1000)
"""
    exceeded(await arena.python(code, memory_bytes=64 * MIB), "memory_bytes")


async def test_tmp_counts_as_memory_where_a_cgroup_counts(inner: Inner) -> None:
    if not inner.sandbox.tier.enforcement.startswith("cgroup"):
        pytest.skip("without a cgroup, /tmp has its own size only")
    assert inner.sandbox.overhead.memory <= 192 * MIB
    result = await inner.run("head -c 400M /dev/zero > /tmp/x", memory_bytes=64 * MIB, tmp_bytes=500 * MIB)
    exceeded(result, "memory_bytes")


async def test_watches_of_files_that_everybody_of_the_uid_shares(inner: Inner) -> None:
    if not inner.sandbox.bounds_counts:
        pytest.skip("its steps have none of the machine's")
    code = """
import ctypes
libc = ctypes.CDLL(None)
print(sum(libc.inotify_init1(0) >= 0 for _ in range(100)))
try: open("/proc/sys/user/max_inotify_instances", "w").write("200")
except OSError: print("refused")
"""
    most, refused = (await inner.python(code)).stdout.head.split()
    assert int(most) <= 16, "others of the uid may leave fewer"
    assert refused == b"refused"
    assert inner.sandbox.counts_bounded


async def test_fork_bomb(arena: Arena) -> None:
    result = await arena.run("bomb() { bomb | bomb & }; bomb; sleep 1000", processes=64, wall_us=20 * SECOND)
    exceeded(result, "processes")
    assert left_alive(arena) == []


async def test_thread_bomb(arena: Arena) -> None:
    code = """
import threading, time
for _ in range(5000): threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
"""
    result = await arena.python(code, processes=64)
    if arena.sandbox.tier.backend == "gvisor":
        # Documented: threads are gVisor's own, and bounded by memory. They end with the program.
        assert result.ending in (Ending.EXITED, Ending.LIMIT)
    elif result.ending is Ending.EXITED:
        # Without a cgroup the rlimit just above the limit can be faster than the watchdog looks.
        assert arena.sandbox.tier.enforcement == "rlimit+watchdog"
        assert b"can't start new thread" in result.stderr.head
    else:
        exceeded(result, "processes")
    assert left_alive(arena) == []


async def test_as_many_processes_as_allowed(arena: Arena) -> None:
    code = """
import subprocess, sys
children = [subprocess.Popen(["sleep", "0.3"]) for _ in range(31)]
print(sum(child.wait() for child in children))
"""
    result = await arena.python(code, processes=32)
    assert result.stdout.head == b"0\n"


async def test_open_files(arena: Arena) -> None:
    code = """
import os, errno
try:
    while True: os.open("/dev/null", 0)
except OSError as error: print(errno.errorcode[error.errno], error.errno)
"""
    assert (await arena.python(code, open_files=64)).stdout.head.startswith(b"EMFILE")


@pytest.mark.parametrize("how", ["truncate -s 1T big", "fallocate -l 1G big", "head -c 100M /dev/zero > big"])
async def test_file_size(arena: Arena, how: str) -> None:
    result = await arena.run(f"exec {how}" if ">" not in how else how, file_bytes=10 * MIB)
    if result.ending is Ending.LIMIT:
        exceeded(result, "file_bytes")
    else:
        assert b"File too large" in result.stderr.head or result.exit_code == 128 + signal.SIGXFSZ
        assert (await arena.listed(result)).get("big", 0) <= 10 * MIB


async def test_bytes_written(arena: Arena) -> None:
    result = await arena.run(
        "i=0; while :; do head -c 4M /dev/urandom > f$i; i=$((i+1)); done", written_bytes=40 * MIB
    )
    exceeded(result, "written_bytes")


async def test_a_quick_writer_is_caught_at_its_end(arena: Arena) -> None:
    exceeded(await arena.run("head -c 8M /dev/urandom > f", written_bytes=4 * MIB), "written_bytes")


async def test_many_files(arena: Arena) -> None:
    code = "i = 0\nwhile True:\n    open(f'f{i}', 'w').close(); i += 1"
    exceeded(await arena.python(code, written_files=500), "written_files")


async def test_tmp_and_shm_are_bounded(inner: Inner) -> None:
    result = await inner.run(
        "head -c 9M /dev/zero > /tmp/x; head -c 9M /dev/zero > /dev/shm/x; head -c 1K /dev/zero > /dev/x",
        tmp_bytes=4 * MIB, shm_bytes=4 * MIB,
    )  # fmt: skip
    assert result.stderr.head.count(b"No space left") == 2


async def test_output_without_end(arena: Arena) -> None:
    result = await arena.run("yes", output_bytes=50 * MIB)
    found = exceeded(result, "output_bytes")
    assert result.stdout.total == found.measured or result.stdout.total >= 50 * MIB
    assert len(result.stdout.head) + len(result.stdout.tail) == 1 * MIB


async def test_a_daemon_does_not_outlive_the_step(arena: Arena) -> None:
    payload = "(setsid sh -c 'while :; do date >> /workspace/log; done' >/dev/null 2>&1 &); sleep 0.05; echo main done"
    result = await arena.run(payload)
    assert (result.exit_code, result.stdout.head) == (0, b"main done\n")
    assert left_alive(arena) == []
    assert await arena.listed(result) == {**BASE, "log": len(await logged(arena, result))}


async def logged(arena: Arena, result: Ended) -> bytes:
    """What the result tree has in `log`: what it had when the step ended."""
    request = pb.ReadFileRequest(workspace_id=arena.workspace, tree=result.tree, path="log")
    return bytes((await arena.call("ReadFile", request)).data)


async def test_a_daemon_holding_stdout_does_not_hold_the_step(arena: Arena) -> None:
    result = await arena.run("setsid sleep 1000 & echo main done", wall_us=20 * SECOND)
    assert (result.ending, result.exit_code) == (Ending.EXITED, 0)
    assert left_alive(arena) == []


async def test_cancelling_by_event_returns_what_happened(inner: Inner) -> None:
    cancel = asyncio.Event()

    class Sink:
        async def chunk(self, stream: str, offset: int, data: bytes) -> None:
            cancel.set()

    result = await inner.run("echo begun; setsid sleep 1000 & sleep 1000", cancel=cancel, sink=Sink())
    assert (result.ending, result.exit_code, result.stdout.head) == (Ending.CANCELLED, None, b"begun\n")
    assert left_alive(inner) == []


async def test_cancelling_the_task_ends_the_tree_first(inner: Inner) -> None:
    begun = asyncio.Event()

    class Sink:
        async def chunk(self, stream: str, offset: int, data: bytes) -> None:
            begun.set()

    task = asyncio.create_task(inner.run("echo begun; sleep 1000", sink=Sink()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left_alive(inner) == []


async def test_many_at_once(arena: Arena) -> None:
    # More than the executor runs at once.
    results = await asyncio.gather(*(arena.run(f"echo {i}") for i in range(12)))
    assert [result.stdout.head for result in results] == [b"%d\n" % i for i in range(12)]
    assert left_alive(arena) == []


async def test_usage_is_measured(arena: Arena) -> None:
    code = "keep = bytearray(b'x' * (50 << 20))\nimport time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"  # noqa: E501 a payload
    usage = (await arena.python(code)).usage
    assert 250_000 <= usage.user_us + usage.system_us <= 3_000_000
    assert 50 * MIB <= usage.max_rss_bytes <= 200 * MIB
    assert usage.wall_us >= 300_000 // 2
