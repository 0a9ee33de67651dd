"""The system call filter: a classic BPF program, assembled here, loaded by the sandbox's runner.

Everything is allowed but a list (see `syscalls`): a step runs arbitrary programs. The filter takes away what an
ordinary program does not need and what kernel exploits have used; the namespaces, not the filter, are the wall.
Format: Linux `Documentation/userspace-api/seccomp_filter.rst`, `linux/filter.h`.
"""

from __future__ import annotations

import errno
import functools
import os
import struct
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.syscalls import MACHINES, Machine

_LOAD, _AND, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000  # the whole process
_ERROR: Final = 0x00050000
_ASK: Final = 0x7FC00000

_NUMBER, _ARCH = 0, 4  # offsets in struct seccomp_data
_X32_BIT: Final = 0x40000000

# NEWTIME is bit 0x80, which in clone() belongs to the exit signal: only clone3 and unshare can ask for it.
NAMESPACE_FLAGS: Final = 0x7E020000
NAMESPACE_BITS: Final = tuple(1 << bit for bit in range(32) if NAMESPACE_FLAGS >> bit & 1)
FAMILIES: Final = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6; AF_NETLINK only for its route protocol
AF_NETLINK: Final = 16
TERMINAL_INJECTION: Final = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_FILE_FLAGS: Final = (
    0x40086602,
    0x40046602,
    0x401C5820,
)  # FS_IOC_SETFLAGS, its 32-bit form, FS_IOC_FSSETXATTR
_PAIR_TYPES: Final = (1, 5)  # SOCK_STREAM, SOCK_SEQPACKET: a pair of datagram sockets could address others
DEVICE_TYPES: Final = (0x2000, 0x6000)  # S_IFCHR, S_IFBLK


def _argument(index: int) -> int:
    # The low 32 bits (both machines are little-endian); the kernel itself looks at no more for these calls.
    return 16 + 8 * index


def _op(code: int, value: int, on_true: int = 0, on_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, on_true, on_false, value & 0xFFFFFFFF)


def _error(number: int) -> bytes:
    return _op(_RETURN, _ERROR | number)


def _when(number: int, body: list[bytes]) -> list[bytes]:
    """`body` for one system call; it must end with a return, or with the call's number loaded again."""
    return [_op(_EQUAL, number, 0, len(body)), *body]


def _deny_values(offset: int, values: tuple[int, ...], code: int, mask: int | None = None) -> list[bytes]:
    body = [_op(_LOAD, offset)]
    if mask is not None:
        body.append(_op(_AND, mask))
    for value in values:
        body += [_op(_EQUAL, value, 0, 1), _error(code)]
    return [*body, _op(_RETURN, _ALLOW)]


def _sockets() -> list[bytes]:
    body = [_op(_LOAD, _argument(0))]
    for family in FAMILIES:
        body += [_op(_EQUAL, family, 0, 1), _op(_RETURN, _ALLOW)]
    # Netlink is many kernel interfaces; getifaddrs and the like need the route one, protocol 0.
    body += [
        _op(_EQUAL, AF_NETLINK, 0, 3),
        _op(_LOAD, _argument(2)),
        _op(_EQUAL, 0, 0, 1),
        _op(_RETURN, _ALLOW),
    ]
    return [*body, _error(errno.EAFNOSUPPORT)]


def _pairs() -> list[bytes]:
    body = [_op(_LOAD, _argument(0)), _op(_EQUAL, FAMILIES[0], 1, 0), _error(errno.EAFNOSUPPORT)]
    body += [_op(_LOAD, _argument(1)), _op(_AND, 0xF)]
    for kind in _PAIR_TYPES:
        body += [_op(_EQUAL, kind, 0, 1), _op(_RETURN, _ALLOW)]
    return [*body, _error(errno.EPERM)]


def _own(name: str) -> list[bytes]:
    """Allow a call on the calling process only."""
    body: list[bytes] = []
    position = 0
    if name in ("setpriority", "ioprio_set"):
        # The first argument says what the second one names: PRIO_PROCESS, IOPRIO_WHO_PROCESS.
        kind = 0 if name == "setpriority" else 1
        body, position = [_op(_LOAD, _argument(0)), _op(_EQUAL, kind, 1, 0), _error(errno.EPERM)], 1
    return [
        *body,
        _op(_LOAD, _argument(position)),
        _op(_EQUAL, 0, 0, 1),
        _op(_RETURN, _ALLOW),
        _error(errno.EPERM),
    ]


def _shared(machine: Machine) -> list[bytes]:
    """What more is taken away where a step shares namespaces with others."""
    lists = (
        (machine.shared_denied, _error(errno.EPERM)),
        (machine.shared_absent, _error(errno.ENOSYS)),
        (machine.shared_unsupported, _error(errno.EOPNOTSUPP)),
        (machine.shared_asked, _op(_RETURN, _ASK)),
    )
    program: list[bytes] = []
    for calls, answer in lists:
        for number in sorted(calls.values()):
            program += _when(number, [answer])
    for name, number in machine.shared_own.items():
        program += _when(number, _own(name))
    return program


def assemble(machine: Machine, *, shared: bool = False) -> bytes:
    """The program for one architecture: 8 bytes per instruction. `shared`: see `shared_program`."""
    calls = machine.conditional
    program = [_op(_LOAD, _ARCH), _op(_EQUAL, machine.audit, 1, 0), _op(_RETURN, _KILL), _op(_LOAD, _NUMBER)]
    if machine.x32:
        program += [_op(_AT_LEAST, _X32_BIT, 0, 1), _error(errno.ENOSYS)]
    for number in sorted(machine.denied.values()):
        program += _when(number, [_error(errno.EPERM)])
    for number in sorted(machine.absent.values()):
        program += _when(number, [_error(errno.ENOSYS)])
    commands = (*TERMINAL_INJECTION, *_FILE_FLAGS) if shared else TERMINAL_INJECTION
    flags = [_op(_LOAD, _argument(0)), _op(_ANY_BIT, NAMESPACE_FLAGS, 0, 1), _error(errno.EPERM)]
    program += _when(calls["clone"], [*flags, _op(_RETURN, _ALLOW)])
    program += _when(calls["ioctl"], _deny_values(_argument(1), commands, errno.EPERM))
    for name, position in (("mknod", 1), ("mknodat", 2)):
        if name in calls:
            body = _deny_values(_argument(position), DEVICE_TYPES, errno.EPERM, mask=0xF000)
            program += _when(calls[name], body)
    program += _when(calls["socket"], [_error(errno.EAFNOSUPPORT)] if shared else _sockets())
    program += _when(calls["socketpair"], _pairs() if shared else _sockets())
    if shared:
        program += _shared(machine)
    program.append(_op(_RETURN, _ALLOW))
    return b"".join(program)


@functools.cache
def program(machine: str = os.uname().machine) -> bytes:
    """The filter for this machine. Raises InterlockError(SANDBOX_UNAVAILABLE) for one without a table."""
    return assemble(_table(machine))


@functools.cache
def shared_program(machine: str = os.uname().machine) -> bytes:
    """The filter for steps without namespaces of their own: no socket but pairs, nothing that outlives a process or
    reaches one of others, and changes of modes, owners and times are asked of a supervisor (SECCOMP_RET_USER_NOTIF).
    """
    return assemble(_table(machine), shared=True)


def _table(machine: str) -> Machine:
    if machine not in MACHINES:
        raise InterlockError(
            Reason.SANDBOX_UNAVAILABLE,
            f"There is no system call filter for {machine} processors.",
            fix="Run the executor on x86-64 or aarch64.",
        )
    return MACHINES[machine]
