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

_NUMBER, _ARCH = 0, 4  # offsets in struct seccomp_data
_X32_BIT: Final = 0x40000000

# NEWTIME is bit 0x80, which in clone() belongs to the exit signal: only clone3 and unshare can ask for it.
NAMESPACE_FLAGS: Final = 0x7E020000
FAMILIES: Final = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6; AF_NETLINK only for its route protocol
_AF_NETLINK: Final = 16
_TERMINAL_INJECTION: Final = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_DEVICE_TYPES: Final = (0x2000, 0x6000)  # S_IFCHR, S_IFBLK


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
        _op(_EQUAL, _AF_NETLINK, 0, 3),
        _op(_LOAD, _argument(2)),
        _op(_EQUAL, 0, 0, 1),
        _op(_RETURN, _ALLOW),
    ]
    return [*body, _error(errno.EAFNOSUPPORT)]


def assemble(machine: Machine) -> bytes:
    """The program for one architecture: 8 bytes per instruction."""
    calls = machine.conditional
    program = [_op(_LOAD, _ARCH), _op(_EQUAL, machine.audit, 1, 0), _op(_RETURN, _KILL), _op(_LOAD, _NUMBER)]
    if machine.x32:
        program += [_op(_AT_LEAST, _X32_BIT, 0, 1), _error(errno.ENOSYS)]
    for number in sorted(machine.denied.values()):
        program += _when(number, [_error(errno.EPERM)])
    for number in sorted(machine.absent.values()):
        program += _when(number, [_error(errno.ENOSYS)])
    flags = [_op(_LOAD, _argument(0)), _op(_ANY_BIT, NAMESPACE_FLAGS, 0, 1), _error(errno.EPERM)]
    program += _when(calls["clone"], [*flags, _op(_RETURN, _ALLOW)])
    program += _when(calls["ioctl"], _deny_values(_argument(1), _TERMINAL_INJECTION, errno.EPERM))
    for name, position in (("mknod", 1), ("mknodat", 2)):
        if name in calls:
            body = _deny_values(_argument(position), _DEVICE_TYPES, errno.EPERM, mask=0xF000)
            program += _when(calls[name], body)
    for name in ("socket", "socketpair"):
        program += _when(calls[name], _sockets())
    program.append(_op(_RETURN, _ALLOW))
    return b"".join(program)


@functools.cache
def program(machine: str = os.uname().machine) -> bytes:
    """The filter for this machine. Raises InterlockError(SANDBOX_UNAVAILABLE) for one without a table."""
    if machine not in MACHINES:
        raise InterlockError(
            Reason.SANDBOX_UNAVAILABLE,
            f"There is no system call filter for {machine} processors.",
            fix="Run the executor on x86-64 or aarch64.",
        )
    return assemble(MACHINES[machine])
