"""What the landlock sandbox does not promise, as docs/threat-model.md says it, and what only it has to withstand."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contract.sandbox.conftest import skip_unless_usable
from tests.contract.sandbox.test_limits import alive, marked_sleep, token
from tests.support.arena import Arena, make_arena

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.base import Ending
from interlock.executor.sandbox.confinement import Confinement
from interlock.executor.sandbox.landlock import LandlockSandbox
from interlock.executor.sandbox.rootfs import Mount
from interlock.executor.sandbox.rules import kernel


@pytest.fixture
def backend(reasons: dict[str, str]) -> str:
    skip_unless_usable("landlock", reasons)
    return "landlock"


async def test_the_workspace_is_at_its_own_path(arena: Arena) -> None:
    result = await arena.run('pwd; echo "$PWD"; cat /workspace/kept.txt; echo $?')
    assert result.stdout.head.decode().splitlines() == [str(arena.upper)] * 2 + ["1"]


async def test_host_name_and_uid_are_the_machines(arena: Arena) -> None:
    result = await arena.run("uname -n; id -u")
    assert result.stdout.head.decode().split() == [os.uname().nodename, str(arena.sandbox.identity.uid)]


async def test_names_and_sizes_elsewhere_can_be_asked_for_but_not_listed(arena: Arena) -> None:
    result = await arena.run("stat -c %n /etc/passwd; ls /etc || cat /etc/passwd || echo no")
    assert result.stdout.head == b"/etc/passwd\nno\n"


async def test_of_proc_it_sees_its_first_process_and_facts_of_the_machine(arena: Arena) -> None:
    line = f"ls /proc || cat /proc/{os.getpid()}/cmdline || cat /proc/1/status || echo no; head -c1 /proc/cpuinfo >&2; exec head -1 /proc/self/status"  # noqa: E501
    result = await arena.run(line)
    assert result.stdout.head == b"no\nName:\thead\n"


async def test_there_is_no_shared_memory_that_would_outlive_it(arena: Arena) -> None:
    code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for call in (lambda: libc.shmget(0, 4096, 0o1600), lambda: libc.semget(0, 1, 0o1600), lambda: libc.msgget(0, 0o1600)):
    print(call(), os.strerror(ctypes.get_errno()))
try: os.open("/dev/shm/x", os.O_CREAT | os.O_RDWR)
except OSError as error: print(error.strerror)
"""
    result = await arena.python(code)
    assert result.stdout.head.decode().splitlines() == ["-1 Function not implemented"] * 3 + [
        "Permission denied"
    ]


async def test_no_socket_can_be_made_but_a_pair(arena: Arena) -> None:
    code = """
import socket
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
        try: socket.socket(family, kind); print("made", family, kind)
        except OSError as error: print(error.errno)
try: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); print("made")
except OSError as error: print(error.errno)
"""
    assert (await arena.python(code)).stdout.head.split() == [b"97"] * 12 + [b"1"]


async def test_limits_of_others_cannot_be_set(arena: Arena) -> None:
    code = f"""
import os, resource
for act in (
    lambda: resource.prlimit({os.getpid()}, resource.RLIMIT_NOFILE, (1, 1)),
    lambda: os.setpriority(os.PRIO_PROCESS, {os.getpid()}, 19),
    lambda: os.setpriority(os.PRIO_USER, 0, 19),
    lambda: os.sched_setaffinity({os.getpid()}, [0]),
):
    try: act(); print("allowed")
    except OSError as error: print(error.strerror)
"""
    assert (await arena.python(code)).stdout.head == b"Operation not permitted\n" * 4


async def test_two_steps_at_once_do_not_reach_each_other(arena: Arena) -> None:
    mark = token()
    other = asyncio.create_task(arena.run(f"{marked_sleep(mark)} & wait", wall_us=3_000_000))
    async with asyncio.timeout(30):
        while not alive(mark):  # noqa: ASYNC110 (another process starts it)
            await asyncio.sleep(0.01)
    assert arena.last is not None
    [victim, *_] = alive(mark)
    theirs = arena.last.upper
    result = await arena.run(
        f"kill -9 {victim} && echo reached; kill -9 -1; cat /proc/{victim}/environ; ls /proc/{victim}/cwd/ {theirs}; true"  # noqa: E501
    )
    assert result.stdout.total == 0
    assert alive(mark)
    assert (await other).ending is Ending.TIMED_OUT
    assert alive(mark) == []


async def test_the_supervisor_cannot_be_ended_and_its_end_ends_the_step(arena: Arena) -> None:
    mark = token()
    line = f"kill -9 $PPID 2>/dev/null && echo reached; (setsid {marked_sleep(mark)} &); sleep 1000"
    running = asyncio.create_task(arena.run(line))
    async with asyncio.timeout(30):
        while not alive(mark):  # noqa: ASYNC110 (another process starts it)
            await asyncio.sleep(0.01)
    [supervisor] = alive(arena.sandbox.name + "-rules")
    os.kill(supervisor, signal.SIGKILL)
    result = await running
    assert result.stdout.total == 0
    assert (result.ending, result.signal) == (Ending.SIGNALED, 9)
    assert alive(mark) == []


async def test_what_is_in_place_of_tmp_is_removed(arena: Arena) -> None:
    line = 'mkdir -p "$TMPDIR/a/b"; echo x > "$TMPDIR/a/b/c"; chmod 000 "$TMPDIR/a/b" "$TMPDIR"'
    assert (await arena.run(line)).exit_code == 0
    async with asyncio.timeout(30):
        while os.listdir(arena.root / "sandbox/scratch"):  # noqa: ASYNC110 (a thread removes it)
            await asyncio.sleep(0.01)


async def test_questions_of_many_at_once_are_answered(arena: Arena) -> None:
    code = """
import os, threading
def change(number):
    path = f"f{number}"; open(path, "w").close()
    for mode in range(0o600, 0o640): os.chmod(path, mode); assert os.stat(path).st_mode & 0o7777 == mode
threads = [threading.Thread(target=change, args=(n,)) for n in range(8)]
for t in threads: t.start()
for t in threads: t.join()
print("done")
"""
    result = await arena.python(code)
    assert (result.stdout.head, result.stderr.head) == (b"done\n", b"")


RACE = """
import os, threading, sys, time
target = sys.argv[1]
os.mkdir("inside"); open("inside/file", "w").close(); os.mkdir("d"); open("d/file", "w").close()
os.symlink(target, "evil")
stop = time.monotonic() + 1.5
def swap():
    while time.monotonic() < stop:
        try: os.rename("d", "d2"); os.rename("evil", "d"); os.rename("d", "evil"); os.rename("d2", "d")
        except OSError: pass
thread = threading.Thread(target=swap); thread.start()
while time.monotonic() < stop:
    try: os.chmod("d/file", 0o777)
    except OSError: pass
    try: os.utime("d/file", (1, 1))
    except OSError: pass
thread.join()
print("done")
"""


async def test_a_race_of_names_changes_nothing_outside(arena: Arena, open_dir: Path) -> None:
    outside = open_dir / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    (outside / "file").chmod(0o600)
    arena.give(outside)
    before = (outside / "file").stat()
    assert (await arena.python(RACE, str(outside))).stdout.head == b"done\n"
    after = (outside / "file").stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


def test_an_older_kernel_is_refused(open_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for abi in (0, 1, kernel.MINIMUM_ABI - 1):
        monkeypatch.setattr(kernel, "landlock_abi", lambda abi=abi: abi)
        with pytest.raises(InterlockError) as caught:
            LandlockSandbox(Confinement.from_env(open_dir / "sandbox"))
        assert caught.value.reason is Reason.SANDBOX_UNAVAILABLE
        assert "Linux 6.12" in caught.value.fix


def test_things_at_other_places_are_refused(open_dir: Path) -> None:
    plain = Confinement.from_env(open_dir / "sandbox")
    for changed in (replace(plain, rootfs=open_dir), replace(plain, mounts=(Mount(open_dir, "/opt/x"),))):
        with pytest.raises(InterlockError) as caught:
            LandlockSandbox(changed)
        assert caught.value.field in ("INTERLOCK_ROOTFS", "INTERLOCK_EXTRA_RO_MOUNTS")


async def test_a_mount_at_its_own_place_can_be_read_only(open_dir: Path, backend: str) -> None:
    tools = open_dir / "tools"
    tools.mkdir()
    (tools / "tool").write_text("#!/bin/sh\necho tool\n")
    (tools / "tool").chmod(0o755)
    arena = make_arena(open_dir, backend, mounts=(Mount(tools, str(tools)),))
    arena.give(tools)
    result = await arena.run(f"{tools}/tool; echo x > {tools}/new; chmod 700 {tools}/tool; ls {tools}")
    assert result.stdout.head == b"tool\ntool\n"
    assert (tools / "tool").stat().st_mode & 0o777 == 0o755


PROGRAM = """
import asyncio, os, sys
from pathlib import Path
from interlock.executor.sandbox.base import Fork, SandboxSpec, Limits
from interlock.executor.sandbox.confinement import Confinement
from interlock.executor.sandbox.landlock import LandlockSandbox

async def main(place):
    sandbox = LandlockSandbox(Confinement.from_env(place / "sandbox"))
    probe = await sandbox.probe(place)
    for check in probe.checks: print(check.name, check.ok, check.detail)
    for name in ("up", "wk"): (place / name).mkdir()
    (place / "mine").write_text("mine"); (place / "mine").chmod(0o640)
    line = f"kill -0 {os.getpid()} || echo unreachable; kill -9 -1; chmod 777 {place}/mine || cat {place}/mine || echo kept; echo new > f; chmod 700 f; umask"
    result = await sandbox.run(SandboxSpec(command=line, fork=Fork((), place / "up", place / "wk")))
    print(result.stdout.head, oct((place / "mine").stat().st_mode & 0o777), (place / "up/f").read_text().strip())
    slow = await sandbox.run(SandboxSpec(command="setsid sleep 100 & sleep 100", limits=Limits(wall_us=300000)))
    print(slow.ending)

asyncio.run(main(Path(sys.argv[1])))
"""  # noqa: E501


@pytest.mark.skipif(os.geteuid() != 0, reason="as an ordinary user every other test shows this")
def test_as_an_ordinary_user_it_does_not_reach_that_user(backend: str) -> None:
    place = Path(tempfile.mkdtemp(prefix="interlock-user-"))
    os.chown(place, 64_201, 64_201)
    done = subprocess.run(
        ["/usr/bin/python3", "-c", PROGRAM, place],
        user=64_201, group=64_201, extra_groups=[], cwd="/", timeout=60,
        env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HOME": str(place), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    shutil.rmtree(place)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "step True" in done.stdout, done.stdout
    assert r"b'unreachable\nkept\n0022\n' 0o640 new" in lines
    assert lines[-1] == "Ending.TIMED_OUT"
