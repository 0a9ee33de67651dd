"""The filter is run by an interpreter of classic BPF written here, and its numbers are compared with the kernel's."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.rules.metadata import CALLS
from interlock.executor.sandbox.seccomp import assemble, program
from interlock.executor.sandbox.syscalls import MACHINES

ALLOW, KILL, ASK = "allow", "kill", "ask"


def run(code: bytes, arch: int, number: int, *arguments: int) -> str:
    """What the filter answers: allow, kill, or the name of an error."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *(list(arguments) + [0] * 6)[:6])
    instructions = [struct.unpack_from("<HBBI", code, at) for at in range(0, len(code), 8)]
    accumulator, at = 0, 0
    while True:
        op, on_true, on_false, value = instructions[at]
        at += 1
        if op == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif op == 0x54:
            accumulator &= value
        elif op in (0x15, 0x35, 0x45):
            hit = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[
                op
            ]
            at += on_true if hit else on_false
        else:
            assert op == 0x06
            return {0x7FFF0000: ALLOW, 0x80000000: KILL, 0x7FC00000: ASK}.get(value) or errno.errorcode[
                value & 0xFFFF
            ]


@pytest.mark.parametrize("name", MACHINES)
def test_every_named_call_is_answered_as_named(name: str) -> None:
    machine = MACHINES[name]
    code = assemble(machine)
    for number in machine.denied.values():
        assert run(code, machine.audit, number) == "EPERM"
    for number in machine.absent.values():
        assert run(code, machine.audit, number) == "ENOSYS"
    named = {*machine.denied.values(), *machine.absent.values(), *machine.conditional.values()}
    for number in set(range(480)) - named:
        assert run(code, machine.audit, number) == ALLOW


@pytest.mark.parametrize("name", MACHINES)
def test_arguments(name: str) -> None:
    machine = MACHINES[name]
    code, calls = assemble(machine), machine.conditional

    def ask(call: str, *arguments: int) -> str:
        return run(code, machine.audit, calls[call], *arguments)

    assert ask("clone", 0x01200011) == ALLOW  # fork
    assert ask("clone", 0x003D0F00) == ALLOW  # a thread
    for flag in (0x10000000, 0x20000, 0x20000000, 0x40000000, 0x8000000, 0x4000000, 0x2000000):
        assert ask("clone", flag | 17) == "EPERM"
    assert ask("ioctl", 0, 0x5401) == ALLOW
    assert ask("ioctl", 0, 0x5412) == "EPERM"
    assert ask("ioctl", 0, 0x541C) == "EPERM"
    assert ask("ioctl", 0, 0x7700005412) == "EPERM"
    for family, answer in ((1, ALLOW), (2, ALLOW), (10, ALLOW), (17, "EAFNOSUPPORT"), (40, "EAFNOSUPPORT")):
        assert ask("socket", family, 1, 0) == answer
        assert ask("socketpair", family, 1, 0) == answer
    assert ask("socket", 16, 3, 0) == ALLOW
    assert ask("socket", 16, 3, 12) == "EAFNOSUPPORT"
    for kind, answer in (
        (0o100644, ALLOW),
        (0o010644, ALLOW),
        (0o140644, ALLOW),
        (0o020644, "EPERM"),
        (0o060644, "EPERM"),
    ):
        assert ask("mknodat", 0, 0, kind) == answer
        if "mknod" in calls:
            assert ask("mknod", 0, kind) == answer


@pytest.mark.parametrize("name", MACHINES)
def test_where_namespaces_are_shared_more_is_taken_away(name: str) -> None:
    machine = MACHINES[name]
    code = assemble(machine, shared=True)
    answers = {
        "EPERM": {**machine.denied, **machine.shared_denied},
        "ENOSYS": {**machine.absent, **machine.shared_absent},
        "ENOTSUP": machine.shared_unsupported,
        ASK: machine.shared_asked,
    }
    for answer, calls in answers.items():
        for call, number in calls.items():
            assert run(code, machine.audit, number) == answer, call
    named = {number for calls in answers.values() for number in calls.values()}
    named |= {*machine.conditional.values(), *machine.shared_own.values()}
    for number in set(range(480)) - named:
        assert run(code, machine.audit, number) == ALLOW


@pytest.mark.parametrize("name", MACHINES)
def test_arguments_where_namespaces_are_shared(name: str) -> None:
    machine = MACHINES[name]
    code, calls = assemble(machine, shared=True), {**machine.conditional, **machine.shared_own}

    def ask(call: str, *arguments: int) -> str:
        return run(code, machine.audit, calls[call], *arguments)

    for family in (1, 2, 10, 16, 17, 40):
        assert ask("socket", family, 1, 0) == "EAFNOSUPPORT"
    for kind, answer in (
        (1, ALLOW),
        (5, ALLOW),
        (2, "EPERM"),
        (0x80001, ALLOW),
        (0x80002, "EPERM"),
        (3, "EPERM"),
    ):
        assert ask("socketpair", 1, kind, 0) == answer
    assert ask("socketpair", 2, 1, 0) == "EAFNOSUPPORT"
    for call in ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setattr", "sched_setparam"):
        assert (ask(call, 0, 1), ask(call, 1, 0), ask(call, 0xFFFFFFFF)) == (ALLOW, "EPERM", "EPERM")
    for call, kind in (("setpriority", 0), ("ioprio_set", 1)):
        assert (ask(call, kind, 0), ask(call, kind, 7), ask(call, 2, 0)) == (ALLOW, "EPERM", "EPERM")
    for command, answer in ((0x40086602, "EPERM"), (0x401C5820, "EPERM"), (0x5412, "EPERM"), (0x5401, ALLOW)):
        assert ask("ioctl", 3, command) == answer
    assert ask("clone", 0x10000011) == "EPERM"


@pytest.mark.parametrize("name", MACHINES)
def test_the_supervisor_knows_every_call_it_is_asked_about(name: str) -> None:
    assert CALLS[name] == {number: call for call, number in MACHINES[name].shared_asked.items()}


def test_other_architectures_and_x32() -> None:
    x86, arm = MACHINES["x86_64"], MACHINES["aarch64"]
    assert run(assemble(x86), arm.audit, 0) == KILL
    assert run(assemble(x86), 0x40000003, 20) == KILL  # i386
    assert run(assemble(arm), x86.audit, 0) == KILL
    assert run(assemble(x86), x86.audit, 0x40000000) == "ENOSYS"
    assert run(assemble(x86), x86.audit, 0xFFFFFFFF) == "ENOSYS"


def test_the_program_is_small_enough_for_the_kernel() -> None:
    for machine in MACHINES.values():
        for shared in (False, True):
            assert len(assemble(machine, shared=shared)) // 8 <= 4096


def test_an_unknown_machine() -> None:
    with pytest.raises(InterlockError) as caught:
        program("s390x")
    assert caught.value.reason is Reason.SANDBOX_UNAVAILABLE


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        ("aarch64", "/usr/include/asm-generic/unistd.h"),
    ],
)
def test_numbers_are_those_of_the_kernels_headers(name: str, header: str) -> None:
    if not Path(header).exists():
        pytest.skip(f"{header} is not installed")
    found = dict(
        re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\s*$", Path(header).read_text(), re.MULTILINE)
    )
    machine = MACHINES[name]
    newer_than_headers = {
        "listmount",
        "statmount",
        "open_tree_attr",
        "fchmodat2",
        "setxattrat",
        "removexattrat",
    }
    newer_than_headers |= {"file_getattr", "file_setattr"}
    tables = [table for table in vars(machine).values() if isinstance(table, dict)]
    for call, number in [item for table in tables for item in table.items()]:
        if call in found:
            assert int(found[call]) == number, call
        else:
            assert call in newer_than_headers, call
