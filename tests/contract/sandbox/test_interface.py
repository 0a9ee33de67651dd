"""What a caller of `Sandbox` relies on, whichever backend it has."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import resource
from typing import Any

import pytest
from tests.support.arena import Arena

from interlock.common.digests import canonical_json
from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox import ends
from interlock.executor.sandbox.base import MIB, Ending, Level, Limits, SandboxSpec
from interlock.executor.sandbox.environment import FIXED


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


async def test_the_tier_is_told_and_says_what_it_is(arena: Arena, backend: str) -> None:
    result = await arena.run("true")
    tier = arena.sandbox.tier
    assert result.tier == tier
    assert tier.backend == backend
    assert tier.enforcement in ("cgroup-v1", "cgroup-v2", "rlimit+watchdog")
    assert tier.fork == ("overlay" if arena.sandbox.capabilities.overlay else "copy")
    assert arena.sandbox.capabilities.level in Level
    assert result.enforced.keys() == set(Limits.__dataclass_fields__)


async def test_the_policy_is_part_of_digests(arena: Arena) -> None:
    policy = arena.sandbox.policy()
    assert policy["backend"] == arena.sandbox.tier.backend
    assert policy["network"] == "none"
    assert json.loads(canonical_json(policy)) == policy


async def test_the_self_test_passes_and_names_what_it_found(arena: Arena) -> None:
    probe = await arena.sandbox.probe(arena.root)
    assert probe.usable, probe
    assert {"identity", "step", "fork"} <= {check.name for check in probe.checks}
    assert [path.name for path in arena.root.glob("self-test-*")] == []


async def test_the_self_test_never_raises(arena: Arena) -> None:
    probe = await arena.sandbox.probe(arena.root / "absent")
    assert not probe.usable
    [found] = [check for check in probe.checks if not check.ok and check.required]
    assert found.fix


@pytest.mark.parametrize("code", [0, 1, 127, 128, 255])
async def test_an_exit_code_is_reported(arena: Arena, code: int) -> None:
    result = await arena.run(f"exit {code}")
    assert (result.ending, result.exit_code, result.signal) == (Ending.EXITED, code, 0)


@pytest.mark.parametrize("number", [6, 9, 11, 15])
async def test_a_signal_is_reported(arena: Arena, number: int) -> None:
    result = await arena.run(f"kill -{number} $$")
    assert (result.ending, result.signal, result.exit_code) == (Ending.SIGNALED, number, None)


@pytest.mark.parametrize("code", [137, 152, 153])
async def test_an_exit_code_that_looks_like_a_signal_is_an_exit_code(arena: Arena, code: int) -> None:
    """Also of a command that ends before anybody could look at it, and no limit is blamed for it."""
    if not knows_signals(arena):
        pytest.skip("its runner says both alike: docs/sandbox.md")
    result = await arena.run(f"exit {code}")
    assert (result.ending, result.exit_code, result.signal) == (Ending.EXITED, code, 0)
    assert result.exceeded is None


async def test_what_a_shell_says_of_its_child_is_its_exit_code(arena: Arena) -> None:
    if not knows_signals(arena):
        pytest.skip("its runner says both alike: docs/sandbox.md")
    result = await arena.run("bash -c 'kill -9 $$'; exit $?")
    assert (result.ending, result.exit_code) == (Ending.EXITED, 137)


def knows_signals(arena: Arena) -> bool:
    backend = arena.sandbox.tier.backend
    return backend != "gvisor" and (backend != "bubblewrap" or ends.can_tell())


async def test_threads_can_be_started_and_namespaces_not(arena: Arena) -> None:
    """Libraries make threads by clone3 and, only where that is absent, by clone, whose flags a filter can look at."""
    code = """
import ctypes, errno, os, threading
said = []
thread = threading.Thread(target=said.append, args=("in a thread",)); thread.start(); thread.join()
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall(435, ctypes.create_string_buffer(88), 88)  # clone3
print(*said, errno.errorcode[ctypes.get_errno()])
"""
    result = await arena.python(code)
    assert result.stdout.head == b"in a thread ENOSYS\n", result.stderr.head


async def test_an_argument_vector_is_passed_as_it_is(arena: Arena) -> None:
    arguments = ("", " ", "a b", "$HOME", "'", "\n", "é", "-rf", "*")
    result = await arena.python("import sys; print(ascii(sys.argv[1:]))", *arguments)
    assert result.stdout.head.decode() == ascii(list(arguments)) + "\n"
    assert result.argv[4:] == arguments


async def test_a_command_line_is_the_shells(arena: Arena) -> None:
    result = await arena.run("echo $((6 * 7)) | cat")
    assert result.stdout.head == b"42\n"
    assert result.argv[1:] == ("-c", "echo $((6 * 7)) | cat")
    assert arena.sandbox.resolve_argv(SandboxSpec(command="x")) == (result.argv[0], "-c", "x")


async def test_a_script_without_an_interpreter_line_is_the_shells(arena: Arena) -> None:
    arena.write("script", "echo from the script $1")
    (arena.base / "script").chmod(0o755)
    if arena.sandbox.tier.backend == "gvisor":
        with pytest.raises(InterlockError, match=r"exec format error"):
            await arena.run(argv=("./script", "x"))
        return
    result = await arena.run(argv=("./script", "x"))
    if arena.sandbox.tier.backend.startswith("oci:"):
        # Documented: an OCI runtime executes as execve(2) does, not as execvp(3).
        assert result.exit_code != 0
        assert b"exec format error" in result.stderr.head.lower()
    else:
        assert result.stdout.head == b"from the script x\n"


@pytest.mark.parametrize("program", ["no-such-program", "./no-such", "/no/such", "./kept.txt", "./dir"])
async def test_a_program_that_cannot_be_executed(arena: Arena, program: str) -> None:
    with pytest.raises(InterlockError) as caught:
        await arena.run(argv=(program,))
    assert caught.value.reason is Reason.COMMAND_NOT_FOUND
    assert caught.value.field == "argv"
    assert program in caught.value.message


@pytest.mark.parametrize("directory", ["absent", "kept.txt", "out"])
async def test_a_working_directory_that_is_none(arena: Arena, directory: str) -> None:
    (arena.base / "out").symlink_to("/root")
    arena.give(arena.base)
    with pytest.raises(InterlockError) as caught:
        await arena.run("true", working_dir=directory)
    assert (caught.value.reason, caught.value.field) == (Reason.PATH_NOT_FOUND, "working_dir")


async def test_the_working_directory_is_below_the_workspace(arena: Arena) -> None:
    result = await arena.run("cat inner.txt; echo new > made", working_dir="dir")
    assert result.stdout.head == b"inner\n"
    assert (arena.upper / "dir/made").read_text() == "new\n"
    assert not (arena.base / "dir/made").exists()


@pytest.mark.parametrize(
    "spec",
    [
        SandboxSpec(),
        SandboxSpec(argv=("a",), command="b"),
        SandboxSpec(argv=("a\0b",)),
        SandboxSpec(command="a", env={"1": "x"}),
        SandboxSpec(command="a", working_dir="../x"),
        SandboxSpec(command="a", limits=Limits(processes=0)),
    ],
)
async def test_a_bad_spec_is_refused(arena: Arena, spec: SandboxSpec) -> None:
    with pytest.raises(InterlockError) as caught:
        await arena.sandbox.run(spec)
    assert caught.value.reason in (Reason.INVALID_ARGUMENT, Reason.PATH_OUTSIDE_WORKSPACE)


async def test_without_a_fork_there_is_an_empty_directory(arena: Arena) -> None:
    result = await arena.sandbox.run(SandboxSpec(command="ls -A; echo x > file && cat file"))
    assert (result.exit_code, result.stdout.head) == (0, b"x\n")


async def test_the_surroundings_are_fixed(arena: Arena) -> None:
    line = "umask; date +%Z; date -r /dev/null +%Z; tty; locale 2>/dev/null | head -1; env | sort"
    result = await arena.run(line, env={"DECLARED": "by the step", "LANG": "C"})
    lines = result.stdout.head.decode().splitlines()
    assert lines[:4] == ["0022", "UTC", "UTC", "not a tty"]
    found = dict(entry.split("=", 1) for entry in lines if "=" in entry)
    places = {"HOME", "TMPDIR", "PWD"}
    fixed = {name: value for name, value in FIXED.items() if name not in places}
    expected = {**fixed, "DECLARED": "by the step", "LANG": "C"}
    assert {name: found.get(name) for name in expected} == expected
    assert found.keys() - expected.keys() - places <= {"SHLVL", "_", "OLDPWD"}


async def test_who_and_where_it_is_are_fixed(arena: Arena) -> None:
    line = "uname -n; id -u; id -g; id -un; pwd; cat /etc/hostname; locale charmap; ulimit -c; echo $PPID"
    found = [(await arena.run(line)).stdout.head.decode().splitlines() for _ in range(2)]
    if not arena.sandbox.capabilities.own_identity:
        pytest.skip("these are the machine's there, which test_landlock.py looks at")
    assert found[0][:7] == ["step", "1000", "1000", "step", "/workspace", "step", "UTF-8"]
    assert found[0] == found[1]


async def test_home_and_tmp_can_be_written_and_are_thrown_away(arena: Arena) -> None:
    line = 'ls -A "$HOME" "$TMPDIR" | grep -c left; echo left > "$HOME/left" && echo left > "$TMPDIR/left"'
    for _ in range(2):
        result = await arena.run(line)
        assert (result.exit_code, result.stdout.head) == (0, b"0\n")


async def test_stdin_is_empty_and_only_three_descriptors_are_open(arena: Arena) -> None:
    code = """
import os
import resource
def is_open(fd):
    try: os.fstat(fd)
    except OSError: return False
    return True
print(os.read(0, 10), [fd for fd in range(4096) if is_open(fd)])
"""
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    for fd in held:
        os.set_inheritable(fd, True)
    try:
        assert (await arena.python(code)).stdout.head == b"b'' [0, 1, 2]\n"
    finally:
        for fd in held:
            os.close(fd)


class Recorder:
    """Keeps what it is given and checks that it arrives in order."""

    def __init__(self) -> None:
        self.data = {"stdout": bytearray(), "stderr": bytearray()}
        self.begun = asyncio.Event()

    async def chunk(self, stream: str, offset: int, data: bytes) -> None:
        assert offset == len(self.data[stream])
        self.data[stream] += data
        self.begun.set()


async def test_output_is_exact(arena: Arena) -> None:
    data = bytes(range(256)) + b"\x1b[31mred\x1b[0m\r\n\xff\xfe\x00"
    recorder = Recorder()
    code = f"import sys; sys.stdout.buffer.write({data!r}); sys.stderr.buffer.write({data!r} * 2)"
    result = await arena.python(code, sink=recorder)
    assert (result.stdout.head, result.stdout.total, result.stdout.digest) == (data, len(data), digest(data))
    assert (result.stderr.head, result.stderr.digest) == (data * 2, digest(data * 2))
    assert recorder.data == {"stdout": data, "stderr": data * 2}


async def test_large_output_is_counted_whole_and_kept_in_part(arena: Arena) -> None:
    result = await arena.run("head -c 20M /dev/zero", kept_bytes=64 * 1024)
    assert (result.stdout.total, result.stdout.digest) == (20 * MIB, digest(bytes(20 * MIB)))
    assert result.stdout.omitted == 20 * MIB - 64 * 1024


async def test_cancelling_returns_what_happened(arena: Arena) -> None:
    cancel, recorder = asyncio.Event(), Recorder()
    running = asyncio.create_task(arena.run("echo begun; sleep 1000", cancel=cancel, sink=recorder))
    await recorder.begun.wait()
    cancel.set()
    result = await running
    assert (result.ending, result.exit_code, result.stdout.head) == (Ending.CANCELLED, None, b"begun\n")


async def test_many_at_once(arena: Arena) -> None:
    specs = [SandboxSpec(command=f"echo {number}") for number in range(12)]
    results = await asyncio.gather(*(arena.sandbox.run(spec) for spec in specs))
    assert [result.stdout.head for result in results] == [b"%d\n" % number for number in range(12)]


async def test_usage_is_measured(limited: Arena) -> None:
    code = """
import time
keep = bytearray(b'x' * (50 << 20))
end = time.process_time() + 1.2
while time.process_time() < end: pass
"""
    before = collected_us()
    usage: Any = (await limited.python(code)).usage
    spent, least = usage.user_us + usage.system_us, 1_000_000
    if limited.sandbox.tier.backend == "gvisor":
        # The program's own clock goes on while its thread waits for a processor. What the kernel charged for
        # everything that ended meanwhile does not.
        least = min(least, (collected_us() - before) * 8 // 10)
    assert 0 < least <= spent <= 5_000_000
    assert 50 * MIB <= usage.max_rss_bytes <= 200 * MIB
    assert usage.wall_us >= 150_000


def collected_us() -> int:
    """Processor time of every process that this one has collected."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((used.ru_utime + used.ru_stime) * 1_000_000)


async def test_files_that_it_is_given_are_its_own(arena: Arena) -> None:
    if not arena.sandbox.capabilities.files:
        pytest.skip("the engine refuses steps that name files")
    line = "stat -c '%a %u' /run/secrets/a/key; cat /run/secrets/a/key; echo x > /run/secrets/a/key || rm -f /run/secrets/a/key; cat /run/secrets/a/key"  # noqa: E501
    spec = SandboxSpec(command=line, fork=arena.fork(), files={"/run/secrets/a/key": b"k\x00y\n"})
    result = await arena.sandbox.run(spec)
    assert result.stdout.head == b"400 1000\nk\x00y\nk\x00y\n", result.stderr.head
    assert b"cannot access" in (await arena.run("ls /run/secrets")).stderr.head
