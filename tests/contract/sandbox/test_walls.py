"""The abuse list, as far as every backend has to withstand it: nothing of the machine is read, changed or reached."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
from pathlib import Path

import pytest
from tests.support.arena import Arena

from interlock.executor.sandbox.base import Ending
from interlock.executor.sandbox.devices import NODES, faults

ATTEMPT = """
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
result = libc.syscall(*[eval(argument) for argument in sys.argv[1:]])
print("allowed" if result >= 0 else errno.errorcode[ctypes.get_errno()])
"""


async def attempt(arena: Arena, *arguments: object) -> str:
    """A raw system call inside; `allowed`, the name of the error, or `killed` by the filter."""
    result = await arena.python(ATTEMPT, *(str(argument) for argument in arguments))
    if result.signal == signal.SIGSYS:
        return "killed"
    assert result.exit_code == 0, result.stderr.head
    return result.stdout.head.decode().strip()


@pytest.mark.parametrize(
    "path", ["/etc/shadow", "/etc/passwd-", "/root", "/home", "/var", "/sys", "/run", "/boot"]
)
async def test_the_machine_cannot_be_read(arena: Arena, path: str) -> None:
    result = await arena.run(f"cat {path} {path}/* 2>/dev/null; ls {path} 2>/dev/null | grep -v {path}; true")
    assert result.stdout.total == 0


@pytest.mark.parametrize(
    "path", ["/x", "/usr/x", "/etc/x", "/etc/passwd", "/usr/bin/env", "/var/tmp/x", "/tmp/../x", "/dev/x"]
)
async def test_the_machine_cannot_be_written(arena: Arena, path: str) -> None:
    result = await arena.run(f"echo x >> {path}")
    assert result.exit_code == 1
    assert not os.path.exists(path) or "x" not in Path(path).read_text("latin-1").splitlines()[-1:]  # noqa: ASYNC240


async def test_other_forks_and_the_base_are_out_of_reach(arena: Arena) -> None:
    others = arena.fork()
    (others.upper / "theirs").write_text("theirs\n")
    arena.give(others.upper)
    places = (arena.base, others.upper, arena.root)
    before = [sorted(os.listdir(place)) for place in places]
    for place in places:
        line = f"cat {place}/*; ls {place}; echo x > {place}/new; echo x >> {place}/theirs; rm -rf {place}/*"
        result = await arena.run(
            f"({line}) 2>/dev/null; ln {place}/kept.txt linked 2>/dev/null; ls linked 2>/dev/null"
        )
        assert result.stdout.total == 0
    assert [[name for name in sorted(os.listdir(place)) if "fork" not in name] for place in places] == [
        [name for name in names if "fork" not in name] for names in before
    ]
    assert (others.upper / "theirs").read_text() == "theirs\n"


CHANGES = {
    "chmod": "os.chmod(path, 0o777)",
    "chmod by a descriptor of a path": "os.chmod('/proc/self/fd/%d' % os.open(path, os.O_PATH), 0o777)",
    "chmod relative": "os.chmod(os.path.relpath(path), 0o777)",
    "chmod below a directory": "os.chmod(os.path.basename(path), 0o777, dir_fd=os.open(os.path.dirname(path), os.O_PATH))",  # noqa: E501
    "chmod through a symlink": "os.symlink(path, 'l'); os.chmod('l', 0o777)",
    "times": "os.utime(path, (1, 1))",
    "times now": "os.utime(path)",
    "owner": "os.chown(path, os.getuid(), os.getgid())",
    "truncate": "os.truncate(path, 0)",
    "attribute": "os.setxattr(path, 'user.x', b'y')",
    "link": "os.link(path, 'linked')",
    "rename": "os.rename(path, 'moved')",
    "unlink": "os.unlink(path)",
    "open": "open(path, 'a')",
    "create beside": "open(path + '-new', 'x')",
    "mkdir beside": "os.mkdir(path + '-new')",
    "symlink beside": "os.symlink('x', path + '-new')",
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
async def test_files_of_its_own_uid_elsewhere_cannot_be_changed(
    arena: Arena, open_dir: Path, change: str
) -> None:
    place = open_dir / "outside"
    place.mkdir()
    target = place / "file"
    target.write_text("untouched")
    target.chmod(0o644)
    os.utime(target, (1_000_000, 1_000_000))
    arena.give(place)
    before = facts(target)
    code = f"import os, sys\npath = sys.argv[1]\ntry: {change_of(change)}\nexcept OSError as e: print(type(e).__name__)"
    result = await arena.python(code, str(target))
    assert result.stdout.total > 0, "it was allowed"
    assert result.exit_code == 0, result.stderr.head
    assert facts(target) == before
    assert os.listdir(place) == ["file"]


def change_of(name: str) -> str:
    return CHANGES[name]


def facts(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    names = os.listxattr(path)
    return (status.st_mode, status.st_uid, status.st_mtime_ns, status.st_nlink, path.read_bytes(), names)


async def test_files_of_its_own_can_be_changed_in_every_way(arena: Arena) -> None:
    code = """
import os
def mode(path): return oct(os.stat(path).st_mode & 0o7777)
open("f", "w").close(); os.symlink("f", "l"); os.mkdir("d"); os.symlink("/no/where", "broken")
os.chmod("f", 0o751); print(mode("f"))
os.chmod("l", 0o640); print(mode("f"))
os.chmod(os.path.abspath("f"), 0o600); print(mode("f"))
os.chmod("d", 0o700); print(mode("d"))
with open("f") as file:
    os.fchmod(file.fileno(), 0o444); print(mode("f"))
    os.utime(file.fileno(), ns=(5, 7)); print(os.stat("f").st_mtime_ns, os.stat("f").st_atime_ns)
d = os.open("d", os.O_RDONLY); open("d/in", "w").close()
os.chmod("in", 0o705, dir_fd=d); print(mode("d/in"))
os.utime("d/in", ns=(1_500_000_000_123_456_789, 1_600_000_000_987_654_321)); print(os.stat("d/in").st_mtime_ns)
os.utime("broken", ns=(3, 4), follow_symlinks=False); print(os.lstat("broken").st_mtime_ns)
os.chown("f", os.getuid(), -1); os.lchown("broken", -1, os.getgid()); print(os.stat("f").st_uid == os.getuid())
os.utime("d/in"); print(os.stat("d/in").st_mtime_ns > 1_700_000_000_000_000_000)
for path in ("absent", "d/absent", "", "broken", "f/x"):
    try: os.chmod(path, 0)
    except OSError as error: print(type(error).__name__)
try: os.chown("f", 0, 0)
except OSError as error: print("no")
"""
    result = await arena.python(code)
    assert result.stderr.head == b""
    assert result.stdout.head.decode().split() == [
        "0o751", "0o640", "0o600", "0o700", "0o444", "7", "5", "0o705", "1600000000987654321", "4", "True", "True",
        *["FileNotFoundError"] * 4, "NotADirectoryError", "no",
    ]  # fmt: skip


async def test_tools_that_set_modes_and_times_work(arena: Arena) -> None:
    line = """
set -e
mkdir -p src/deep; echo a > src/deep/a; chmod 750 src/deep/a; touch -d 2001-02-03T04:05:06Z src/deep/a
cp -a src copied; tar -cf t.tar src; mkdir un; tar -xpf t.tar -C un; install -m 711 src/deep/a installed
for file in copied/deep/a un/src/deep/a installed; do stat -c '%a %n' $file; done
stat -c %Y copied/deep/a un/src/deep/a
"""
    result = await arena.run(line)
    assert result.stderr.head == b""
    assert result.stdout.head.decode().splitlines() == [
        "750 copied/deep/a", "750 un/src/deep/a", "711 installed", "981173106", "981173106",
    ]  # fmt: skip


async def test_removing_everything_leaves_the_base(arena: Arena) -> None:
    result = await arena.run("rm -rf ./* /usr/bin /etc 2>/dev/null; ls -A")
    assert result.stdout.total == 0
    assert (arena.base / "kept.txt").read_text() == "as it was\n"


@pytest.mark.parametrize("device", ["b 8 0", "c 1 1", "c 0 0"])
async def test_no_device_can_be_made(arena: Arena, device: str) -> None:
    result = await arena.run(
        f'mknod device {device}; mknod "$TMPDIR/device" {device}; ls device "$TMPDIR/device"'
    )
    assert result.exit_code != 0
    assert result.stdout.total == 0


async def test_a_hard_link_to_the_machine_is_refused(arena: Arena) -> None:
    assert (await arena.run("ln /usr/bin/env here")).exit_code == 1


@pytest.mark.parametrize(
    "path", ["/dev/mem", "/dev/kvm", "/dev/fuse", "/dev/vda", "/dev/kmsg", "/dev/ptmx/x"]
)
async def test_devices_cannot_be_opened(arena: Arena, path: str) -> None:
    if (arena.sandbox.tier.backend, path) == ("gvisor", "/dev/fuse"):
        pytest.skip("this one is gVisor's own; without mount(2) it does nothing")
    code = f"import os\ntry: os.open({path!r}, os.O_RDONLY)\nexcept OSError: print('no')"
    assert (await arena.python(code)).stdout.head == b"no\n"


@pytest.mark.parametrize("setting", ["kernel/core_pattern", "kernel/hostname", "vm/overcommit_memory"])
async def test_kernel_settings_cannot_be_written(arena: Arena, setting: str) -> None:
    before = Path("/proc/sys", setting).read_text()  # noqa: ASYNC240
    assert (await arena.run(f"echo x > /proc/sys/{setting}")).exit_code == 1
    assert (await arena.run("echo x > /proc/sysrq-trigger")).exit_code == 1
    assert Path("/proc/sys", setting).read_text() == before  # noqa: ASYNC240


async def test_a_step_has_no_privilege_and_cannot_get_one(arena: Arena) -> None:
    line = "cp /usr/bin/id mine && chmod 4755 mine; ./mine -u; su -c id; sudo -n id; newgrp root -c id; exec cat /proc/self/status"  # noqa: E501
    result = await arena.run(line)
    uid, *lines = result.stdout.head.decode().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    if arena.sandbox.tier.backend == "gvisor":
        # Its kernel does not tell these; what they stand for is what the uids above are about.
        status |= {"CapAmb": "0" * 16, "NoNewPrivs": "1"}
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    if arena.sandbox.identity.switch:
        assert status["CapBnd"] == "0" * 16
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    assert set(status["Uid"].split()) == {uid}
    assert uid != "0"
    assert "0" not in status["Gid"].split()
    assert not {"0", str(os.getegid())} & set(status["Groups"].split()) or not arena.sandbox.identity.switch


async def test_outside_it_is_the_uid_of_steps(arena: Arena) -> None:
    await arena.run("echo x > file")
    status = (arena.upper / "file").stat()
    identity = arena.sandbox.identity
    assert (status.st_uid, status.st_gid) == (identity.uid, identity.gid)
    assert identity.uid != 0
    assert stat.S_IMODE(status.st_mode) == 0o644


# number of the call on x86-64, arguments
X86_CALLS = {
    "mount": "165, 0, b'/tmp', b'tmpfs', 0, 0",
    "umount2": "166, b'/usr', 2",
    "pivot_root": "155, b'.', b'.'",
    "chroot": "161, b'/tmp'",
    "unshare user": "272, 0x10000000",
    "unshare mount": "272, 0x20000",
    "setns": "308, 0, 0",
    "clone new user": "56, 0x10000011, 0, 0, 0, 0",
    "clone3": "435, 0, 0",
    "open_tree": "428, -100, b'/', 1",
    "fsopen": "430, b'tmpfs', 0",
    "ptrace": "101, 16, os.getppid(), 0, 0",
    "process_vm_readv": "310, os.getppid(), 0, 0, 0, 0, 0",
    "io_uring_setup": "425, 8, 0",
    "bpf": "321, 0, 0, 0",
    "perf_event_open": "298, 0, 0, 0, 0, 0",
    "userfaultfd": "323, 0",
    "keyctl": "250, 0, 0",
    "name_to_handle_at": "303, -100, b'/', 0, 0, 0",
    "sethostname": "170, b'x', 1",
    "personality": "135, 0",
    "pidfd_getfd": "438, 0, 0, 0",
    "x32 getpid": "0x40000000 + 39",
    "TIOCSTI": "16, 0, 0x5412, b'x'",
    "raw socket": "41, 2, 3, 1",
    "packet socket": "41, 17, 3, 0",
    "vsock": "41, 40, 1, 0",
    "alg socket": "41, 38, 5, 0",
    "netlink netfilter": "41, 16, 3, 12",
    "setuid": "105, 0",
    "setgroups": "116, 0, 0",
}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are x86-64's")
@pytest.mark.parametrize("name", X86_CALLS)
async def test_system_calls_are_refused(arena: Arena, name: str) -> None:
    assert await attempt(arena, *X86_CALLS[name].split(", ")) != "allowed"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="i386 calls exist on x86-64 only")
async def test_a_call_of_another_architecture_ends_the_process(arena: Arena) -> None:
    code = """
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid); int 0x80; ret
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
"""
    result = await arena.python(code)
    if arena.sandbox.tier.backend == "gvisor":
        assert result.stdout.head == b"%d\n" % -errno.ENOSYS  # its kernel has no such calls
        return
    assert (result.ending, result.signal, result.stdout.total) == (Ending.SIGNALED, 31, 0)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_the_machines_loopback_cannot_be_reached(arena: Arena, family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip("this machine has no such loopback address")
    with listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        code = f"import socket\ntry: socket.create_connection(({host!r}, {port}), 3)\nexcept OSError: print('no')"
        assert (await arena.python(code)).stdout.head == b"no\n"
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("kind", ["abstract", "path"])
async def test_the_machines_unix_sockets_cannot_be_reached(arena: Arena, open_dir: Path, kind: str) -> None:
    place = "\0interlock-test-" + open_dir.name if kind == "abstract" else str(open_dir / "socket")
    for how in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_UNIX, how) as listener:
            listener.bind(place)
            if kind == "path":
                os.chmod(place, 0o777)
            if how == socket.SOCK_STREAM:
                listener.listen()
            listener.setblocking(False)
            code = f"""
import socket
for make in (lambda: socket.socket(socket.AF_UNIX, {int(how)}), lambda: socket.socketpair(socket.AF_UNIX, {int(how)})[0]):
    try:
        sock = make(); sock.connect({place!r}); sock.send(b"x"); print("reached")
    except OSError: print("no")
"""  # noqa: E501
            assert (await arena.python(code)).stdout.head == b"no\nno\n"
            with pytest.raises(BlockingIOError):
                listener.accept() if how == socket.SOCK_STREAM else listener.recv(10)
        if kind == "path":
            os.unlink(place)


async def test_pairs_of_sockets_work(arena: Arena) -> None:
    code = """
import socket, subprocess, multiprocessing
a, b = socket.socketpair(); a.sendall(b"x"); print(b.recv(5))
r, w = multiprocessing.Pipe(); w.send([1]); print(r.recv())
print(subprocess.run(["echo", "child"], capture_output=True).stdout)
"""
    result = await arena.python(code)
    assert result.stdout.head.splitlines() == [b"b'x'", b"[1]", b"b'child\\n'"], result.stderr.head


async def test_the_executors_environment_is_invisible(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_SECRET", "s3cret-value")
    pids = f"1 self {os.getpid()} {os.getppid()} $PPID $$"
    line = f"for p in {pids}; do cat /proc/$p/environ /proc/$p/maps; ls -l /proc/$p/fd /proc/$p/cwd/; done; env; exec cat /proc/self/environ"  # noqa: E501
    result = await arena.run(line)
    assert b"s3cret" not in result.stdout.head + result.stderr.head
    assert b"PLANTED" not in result.stdout.head


async def test_nobody_outside_can_be_signalled(arena: Arena) -> None:
    code = f"""
import os, signal
for pid in (1, {os.getpid()}, {os.getppid()}):
    try: os.kill(pid, 0); print("reached", pid, os.getpid())
    except OSError: print("no")
try: os.kill(-1, signal.SIGTERM)
except OSError: pass
print("alive")
"""
    result = await arena.python(code)
    words = result.stdout.head.decode().split()
    # With process ids of its own, 1 is the runner's: it may be asked for, and ignores what its descendants send.
    allowed = 3 if arena.sandbox.capabilities.own_processes else 0
    assert words.count("reached") <= allowed
    assert words[-1] == "alive"
    assert result.exit_code == 0


async def test_standard_streams_are_not_the_machines_to_change(arena: Arena) -> None:
    """Whatever the runner gives its user of them (crun does): none is a device of the machine that it could close."""
    code = """
import os, stat
for fd in range(3):
    found = os.fstat(fd)
    try: os.fchmod(fd, stat.S_IMODE(found.st_mode))
    except OSError: continue
    print(found.st_dev, found.st_ino)
"""
    result = await arena.python(code)
    own = [line.split() for line in result.stdout.head.decode().splitlines()]
    machines = [[str(node.st_dev), str(node.st_ino)] for node in map(os.stat, NODES)]
    assert result.exit_code == 0
    assert [name for name in own if name in machines] == []
    assert faults(arena.sandbox.identity.uid) == []
