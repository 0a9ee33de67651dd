"""The abuse list: each payload is run as a step would be, and must not get what it wants."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from tests.support.service_arena import BASE, PLANTED
from tests.support.service_arena import ServiceArena as Arena

from interlock.executor.sandbox.base import Ending

ATTEMPTS = """
import ctypes, errno, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
found = {}
for name, arguments in json.loads(sys.argv[1]).items():
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        result = libc.syscall(*eval(f"({arguments},)"))
        os.write(writing, b"allowed" if result >= 0 else errno.errorcode[ctypes.get_errno()].encode())
        os._exit(0)
    os.close(writing)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found[name] = os.read(reading, 99).decode() if status == 0 else f"signal {-status}"
    os.close(reading)
print(json.dumps(found))
"""


def gvisor(arena: Arena) -> bool:
    return bool(arena.sandbox.tier.backend == "gvisor")


HOST = ("/etc/shadow", "/root", "/home", "/var", "/sys", "/work", "/run", "/boot", "/mnt")
DEVICES = ("/dev/mem", "/dev/kmem", "/dev/kvm", "/dev/fuse", "/dev/vda", "/dev/kmsg", "/dev/loop0")
READ_ONLY = ("/x", "/usr/x", "/etc/x", "/etc/passwd", "/bin/x", "/usr/bin/env", "/lib/x")


async def test_the_host_is_not_there(arena: Arena) -> None:
    bare = ("/sys",) if gvisor(arena) else ()  # there, and empty
    paths = " ".join(path for path in HOST if path not in bare)
    line = f"for path in {paths}; do test -e $path && echo $path; done; {''.join(f'ls -A {p};' for p in bare)} echo end"
    assert (await arena.run(line)).stdout.head == b"end\n"


async def test_dangerous_devices_are_not_there(arena: Arena) -> None:
    # /dev/fuse is gVisor's own; without mount(2) it does nothing.
    paths = " ".join(path for path in DEVICES if not (gvisor(arena) and path == "/dev/fuse"))
    result = await arena.run(f"for path in {paths}; do test -e $path && echo $path; done; echo end")
    assert result.stdout.head == b"end\n"


async def test_everything_but_the_workspace_is_read_only(arena: Arena) -> None:
    line = f"for path in {' '.join(READ_ONLY)}; do (echo x >> $path) && echo $path; done; echo end"
    result = await arena.run(line)
    assert result.stdout.head == b"end\n"
    said = result.stderr.head
    assert said.count(b"Read-only file system") + said.count(b"Permission denied") == len(READ_ONLY), said


async def test_dot_dot_ends_at_the_sandbox_root(arena: Arena) -> None:
    result = await arena.run("cd ../../../../../../..; pwd; ls; cat ../../../../etc/shadow")
    assert result.stdout.head.startswith(b"/\n")
    assert b"root" not in result.stdout.head.split()
    assert b"No such file" in result.stderr.head


async def test_a_symlink_out_leads_nowhere(arena: Arena, open_dir: Path) -> None:
    target = open_dir / "outside"
    target.write_text("untouched")
    target.chmod(0o666)
    result = await arena.run(f"ln -s {target} out; echo hacked > out; ln -s /usr/bin/env env; echo x > env")
    assert result.exit_code == 1
    assert target.read_text() == "untouched"


async def test_a_planted_symlink_is_no_way_out(arena: Arena, open_dir: Path) -> None:
    outside = open_dir / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    (arena.base / "link").symlink_to(outside)
    arena.give(arena.base)
    result = await arena.run("test -L link && echo hacked > link/new; ls link/")
    assert result.exit_code != 0
    assert os.listdir(outside) == []


@pytest.mark.parametrize("path", ["/proc/self/root", "/proc/1/root"])
async def test_proc_root_is_the_sandbox(arena: Arena, path: str) -> None:
    result = await arena.run(f"ls {path}/ 2>&1; cat {path}/etc/shadow {path}/root/.bashrc")
    assert result.exit_code != 0
    assert b"home" not in result.stdout.head.split()


@pytest.mark.parametrize(
    "path",
    [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/hostname",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sysrq-trigger",
    ],
)
async def test_kernel_settings_cannot_be_written(arena: Arena, path: str) -> None:
    before = setting(path)
    result = await arena.run(f"echo x > {path}")
    assert result.exit_code == 1
    assert setting(path) == before


def setting(path: str) -> str:
    return "" if path == "/proc/sysrq-trigger" else Path(path).read_text()


async def test_removing_everything_leaves_the_base(arena: Arena) -> None:
    assert (arena.base / "kept.txt").exists()
    result = await arena.run("rm -rf /workspace/* /usr/bin /etc 2>/dev/null; ls -A /workspace")
    assert result.stdout.total == 0
    assert await arena.listed(result) == {}
    assert set(result.changes.values()) == {"DELETED"}
    assert (arena.base / "kept.txt").read_text() == "as it was\n"
    assert os.path.isdir("/usr/bin")  # noqa: ASYNC240 (a local look)


async def test_a_hard_link_to_the_host_is_refused(arena: Arena) -> None:
    result = await arena.run("ln /usr/bin/env here")
    assert result.exit_code == 1
    assert b"Invalid cross-device link" in result.stderr.head


@pytest.mark.parametrize("device", ["b 8 0", "c 1 1", "c 0 0"])
@pytest.mark.parametrize("place", ["/workspace", "/tmp"])
async def test_no_device_can_be_made(arena: Arena, device: str, place: str) -> None:
    result = await arena.run(f"mknod {place}/device {device}")
    assert result.exit_code == 1
    assert b"Operation not permitted" in result.stderr.head


async def test_a_setuid_bit_gives_nothing(arena: Arena) -> None:
    result = await arena.run(
        "cp /usr/bin/id mine && chmod 4755 mine && ./mine -u; grep NoNewPrivs /proc/self/status",
        refused="EFFECT_NOT_PUBLISHABLE",
    )
    told = [] if gvisor(arena) else [b"NoNewPrivs:", b"1"]
    assert result.stdout.head.split() == [b"1000", *told]


async def test_su_and_sudo_do_not_help(arena: Arena) -> None:
    result = await arena.run("su -c id; sudo -n id; newgrp root -c id; id -u; id -g")
    assert result.stdout.head.split()[-2:] == [b"1000", b"1000"]
    assert b"uid=0" not in result.stdout.head


async def test_the_step_has_no_capability_and_a_filter(arena: Arena) -> None:
    lines = (await arena.run("cat /proc/self/status")).stdout.head.decode().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    if gvisor(arena):
        status["CapAmb"] = "0" * 16  # which its kernel does not tell
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["Seccomp"] == "2"


# number of the call on x86-64, arguments
X86_CALLS = {
    "mount": ("165, 0, b'/tmp', b'tmpfs', 0, 0", "EPERM"),
    "umount2": ("166, b'/workspace', 2", "EPERM"),
    "pivot_root": ("155, b'.', b'.'", "EPERM"),
    "chroot": ("161, b'/tmp'", "EPERM"),
    "unshare user": ("272, 0x10000000", "EPERM"),
    "unshare mount": ("272, 0x20000", "EPERM"),
    "setns": ("308, 0, 0", "EPERM"),
    "clone new user": ("56, 0x10000011, 0, 0, 0, 0", "EPERM"),
    "clone new net": ("56, 0x40000011, 0, 0, 0, 0", "EPERM"),
    "clone3": ("435, 0, 0", "ENOSYS"),
    "open_tree": ("428, -100, b'/', 1", "EPERM"),
    "move_mount": ("429, 0, 0, 0, 0, 0", "EPERM"),
    "fsopen": ("430, b'tmpfs', 0", "EPERM"),
    "mount_setattr": ("442, -100, b'/', 0, 0, 0", "EPERM"),
    "ptrace": ("101, 0, 0, 0, 0", "EPERM"),
    "process_vm_readv": ("310, os.getpid(), 0, 0, 0, 0, 0", "EPERM"),
    "io_uring_setup": ("425, 8, 0", "ENOSYS"),
    "bpf": ("321, 0, 0, 0", "EPERM"),
    "perf_event_open": ("298, 0, 0, 0, 0, 0", "EPERM"),
    "userfaultfd": ("323, 0", "EPERM"),
    "keyctl": ("250, 0, 0", "EPERM"),
    "add_key": ("248, b'user', b'a', b'b', 1, -3", "EPERM"),
    "name_to_handle_at": ("303, -100, b'/', 0, 0, 0", "EPERM"),
    "open_by_handle_at": ("304, 0, 0, 0", "EPERM"),
    "kexec_load": ("246, 0, 0, 0, 0", "EPERM"),
    "reboot": ("169, 0, 0, 0, 0", "EPERM"),
    "settimeofday": ("164, 0, 0", "EPERM"),
    "sethostname": ("170, b'x', 1", "EPERM"),
    "syslog": ("103, 3, 0, 0", "EPERM"),
    "personality": ("135, 0", "EPERM"),
    "pidfd_getfd": ("438, 0, 0, 0", "EPERM"),
    "x32 getpid": ("0x40000000 + 39", "ENOSYS"),
    "TIOCSTI": ("16, 0, 0x5412, b'x'", "EPERM"),
    "TIOCSTI with high bits": ("16, 0, ctypes.c_ulong(0x100005412), b'x'", "EPERM"),
    "raw socket": ("41, 2, 3, 1", "EPERM"),
    "packet socket": ("41, 17, 3, 0", "EAFNOSUPPORT"),
    "vsock": ("41, 40, 1, 0", "EAFNOSUPPORT"),
    "alg socket": ("41, 38, 5, 0", "EAFNOSUPPORT"),
    "bluetooth": ("41, 31, 3, 1", "EAFNOSUPPORT"),
    "netlink netfilter": ("41, 16, 3, 12", "EAFNOSUPPORT"),
    "netlink route": ("41, 16, 3, 0", "allowed"),
    "stream socket": ("41, 2, 1, 0", "allowed"),
}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are x86-64's")
async def test_system_calls(arena: Arena) -> None:
    calls = {name: arguments for name, (arguments, _) in X86_CALLS.items()}
    expected = {name: error for name, (_, error) in X86_CALLS.items()}
    if arena.sandbox.tier.backend.startswith("oci:"):
        # The runtime's filter knows one architecture, and ends who comes with another.
        expected["x32 getpid"] = "signal 31"
    result = await arena.python(ATTEMPTS, json.dumps(calls))
    assert result.exit_code == 0, result.stderr.head
    found = json.loads(result.stdout.head)
    if gvisor(arena):
        # Its filter refuses with one error only, and its kernel lacks some calls.
        assert found.keys() == expected.keys()
        expected = {
            name: error if error in ("EPERM", "ENOSYS") else expected[name] for name, error in found.items()
        }
    assert found == expected


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="i386 calls exist on x86-64 only")
async def test_a_call_of_another_architecture_ends_the_process(arena: Arena) -> None:
    code = """
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid); int 0x80; ret
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
"""
    result = await arena.python(code)
    if gvisor(arena):
        assert result.stdout.head == b"%d\n" % -errno.ENOSYS  # its kernel has no such calls
        return
    assert (result.ending, result.signal) == (Ending.SIGNALED, 31)
    assert result.stdout.total == 0


async def test_nested_sandboxes_are_refused(arena: Arena) -> None:
    result = await arena.run("unshare -Ur id; unshare -n true; nsenter -t 1 -n true; echo over")
    assert result.stdout.head == b"over\n"


async def test_the_hostname_user_and_surroundings_are_fixed(arena: Arena) -> None:
    result = await arena.run(
        "hostname; id -un; id -u; id -g; umask; pwd; date +%Z; echo $HOME $LANG $SOURCE_DATE_EPOCH; tty"
    )
    lines = result.stdout.head.decode().splitlines()
    assert lines == [
        "step", "step", "1000", "1000", "0022", "/workspace", "UTC", "/tmp/home C.UTF-8 315532800", "not a tty",
    ]  # fmt: skip


async def test_home_and_tmp_can_be_written_and_are_thrown_away(arena: Arena) -> None:
    assert (
        await arena.run("echo x > ~/file && echo y > $TMPDIR/file && echo z > /dev/shm/file")
    ).exit_code == 0
    found = (await arena.run("ls ~ /tmp /dev/shm")).stdout.head.decode().split()
    # With bubblewrap a link stands at the workspace's own path, which is below the tests' /tmp.
    found = [word for word in found if word != arena.server.place.name]
    assert found == ["/dev/shm:", "/tmp:", "home", "/tmp/home:"]


async def test_only_the_three_standard_descriptors_are_open(arena: Arena) -> None:
    code = "import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}')))"  # noqa: E501 a payload
    assert (await arena.python(code)).stdout.head == b"[0, 1, 2]\n"


async def test_stdin_is_empty(arena: Arena) -> None:
    assert (await arena.run("cat; echo end")).stdout.head == b"end\n"


async def test_the_executors_environment_is_invisible(arena: Arena) -> None:
    result = await arena.run(
        "env; cat /proc/1/environ /proc/self/environ /proc/*/cmdline | tr '\\0' '\\n'; ls -l /proc/1/fd"
    )
    assert b"PATH=" in result.stdout.head
    for text in (*PLANTED, *PLANTED.values(), "INTERLOCK"):
        assert text.encode() not in result.stdout.head + result.stderr.head


async def test_declared_environment_arrives_and_wins(arena: Arena) -> None:
    result = await arena.run(
        'printf "%s|" "$A" "$TZ" "$EMPTY"', env={"A": "a b\n$c", "TZ": "CET", "EMPTY": ""}
    )
    assert result.stdout.head == b"a b\n$c|CET||"


async def test_preload_variables_work_only_inside(arena: Arena) -> None:
    # Given to the runner itself, this would be loaded outside the sandbox.
    result = await arena.run(
        "echo fine", env={"LD_PRELOAD": "/workspace/evil.so", "LD_LIBRARY_PATH": "/workspace"}
    )
    assert result.stdout.head == b"fine\n"


async def test_processes_of_others_are_invisible(arena: Arena) -> None:
    result = await arena.run("ls /proc | grep -c '^[0-9]'; kill -9 -1; echo still")
    assert int(result.stdout.head.split()[0]) <= 6
    os.kill(os.getpid(), 0)


async def test_its_own_init_cannot_be_killed_from_inside(arena: Arena) -> None:
    result = await arena.run("kill -9 1; sleep 0.05; echo alive")
    if gvisor(arena):
        assert (result.ending, result.signal) == (Ending.SIGNALED, 9)  # the command is the first process
    else:
        assert result.stdout.head == b"alive\n"


async def test_its_own_init_cannot_be_rewritten(arena: Arena) -> None:
    """Who rewrites it makes it forget that it dies with the executor: see rootfs.INIT_MEMORY."""
    if gvisor(arena):
        pytest.skip("the command is the first process, in a kernel that ends with the executor")
    code = """
import os
for path in ("/proc/1/mem", "/proc/1/task/1/mem"):
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
        try: fd = os.open(path, flags)
        except OSError: continue
        if os.fstat(fd).st_rdev != os.makedev(1, 3): print("open", path, flags)
print(os.listdir("/proc/1/task"))
"""
    result = await arena.python(code)
    assert result.stdout.head == b"['1']\n"


async def test_the_descriptors_of_its_init_lead_nowhere(arena: Arena) -> None:
    """A container's first process has the executor's: opened through /proc, a file outside could be written.

    What has no name (a memory file) and what is no file (a FIFO) is nothing outside.
    """
    code = """
import os, stat
for directory in ("/proc/1/fd", "/proc/1/task/1/fd"):
    for number in range(10):
        try: fd = os.open(f"{directory}/{number}", os.O_WRONLY | os.O_APPEND)
        except OSError: continue
        found, null = os.fstat(fd), os.stat("/dev/null")
        if stat.S_ISFIFO(found.st_mode) or not found.st_nlink: continue
        own = [os.fstat(each) for each in (0, 1, 2)]
        known = [(each.st_dev, each.st_ino) for each in (null, *own)]
        if (found.st_dev, found.st_ino) not in known and found.st_rdev != null.st_rdev: print(directory, number, found)
print("tried")
"""
    result = await arena.python(code)
    assert result.stdout.head == b"tried\n"


async def test_awkward_names_survive(arena: Arena) -> None:
    names = [b"-rf", b"new\nline", b"\xff\xfe", b"x" * 255, b" ", b"*", b"$(id)"]
    code = f"import os\nfor name in {names!r}: open(b'/workspace/' + name, 'wb').write(name)"
    result = await arena.python(code)
    assert result.exit_code == 0
    told = {name.decode("utf-8", "backslashreplace"): len(name) for name in names}
    assert await arena.listed(result) == {**BASE, **told}


async def test_a_symlink_loop_ends(arena: Arena) -> None:
    result = await arena.run("ln -s loop loop; cat loop; ln -s . here; ls here/here/here/kept.txt")
    assert b"Too many levels" in result.stderr.head


async def test_overlay_attributes_cannot_be_forged(arena: Arena) -> None:
    code = """
import os
for name in ("user.overlay.opaque", "user.overlay.redirect", "trusted.overlay.opaque"):
    try: os.setxattr("/workspace/dir", name, b"y")
    except OSError as error: pass
print(sorted(os.listdir("/workspace/dir")), os.listxattr("/workspace/dir"))
"""
    result = await arena.python(code)
    assert b"inner.txt" in result.stdout.head
    again = await arena.run("ls dir")
    assert again.stdout.head == b"inner.txt\n"
    assert not result.changes
