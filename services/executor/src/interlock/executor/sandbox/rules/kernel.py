"""System calls that Python has no function for. Sources: Linux `Documentation/userspace-api/landlock.rst`,
`seccomp_filter.rst`, and the headers `linux/landlock.h`, `linux/seccomp.h`.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from typing import Final

MINIMUM_ABI: Final = 6
"""Of Landlock: the first that keeps signals and abstract sockets in (Linux 6.12). Without it a step could end the
processes of everybody who has its uid."""

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}
_VERSION: Final = 1
_PATH_BENEATH: Final = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = (1 << bit for bit in range(4))
_TRUNCATE: Final = 1 << 14
_MAKE_CHAR, _MAKE_SOCK, _MAKE_BLOCK, _IOCTL_DEV = 1 << 6, 1 << 9, 1 << 11, 1 << 15
_ALL: Final = (1 << 16) - 1
READ: Final = EXECUTE | READ_FILE | READ_DIR
CHANGE: Final = _ALL & ~(_MAKE_CHAR | _MAKE_SOCK | _MAKE_BLOCK | _IOCTL_DEV)
DEVICE: Final = READ_FILE | WRITE_FILE | _TRUNCATE
_OF_FILES: Final = EXECUTE | WRITE_FILE | READ_FILE | _TRUNCATE
_TCP: Final = 3  # bind and connect
_SCOPES: Final = 3  # abstract sockets and signals

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP = 1, 4, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
_NEW_LISTENER: Final = 1 << 3
_WAIT_KILLABLE: Final = 1 << 5

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def _syscall(what: str, number: int, *arguments: object) -> int:
    return _check(int(_libc.syscall(number, *arguments)), what)


def _prctl(what: str, option: int, value: int) -> None:
    _check(int(_libc.prctl(option, value, 0, 0, 0)), what)


def landlock_abi() -> int:
    """The kernel's Landlock version; 0 where there is none."""
    return max(0, int(_libc.syscall(_CREATE, None, 0, _VERSION)))


def no_new_privileges() -> None:
    """For this process and all it starts, for good."""
    _prctl("no_new_privs", _PR_SET_NO_NEW_PRIVS, 1)


def inherit_orphans() -> None:
    """Descendants whose parent ends become children of this process."""
    _prctl("subreaper", _PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signal: int) -> None:
    """Get `signal` when the thread that forked this process ends."""
    _prctl("pdeathsig", _PR_SET_PDEATHSIG, signal)


def hide_memory() -> None:
    """Nobody of the same uid can look into this process."""
    _prctl("dumpable", _PR_SET_DUMPABLE, 0)


def drop_bounding_set() -> None:
    """Give up every capability for good. Needs CAP_SETPCAP."""
    for number in range(64):
        if _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            return


def _ruleset(access: int, net: int) -> int:
    attributes = struct.pack("=QQQ", access, net, _SCOPES)
    return _syscall("landlock_create_ruleset", _CREATE, attributes, len(attributes), 0)


def _restrict(ruleset: int) -> None:
    try:
        _syscall("landlock_restrict_self", _RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def enter_scope() -> None:
    """Enter a domain of signals: from now on this process and its descendants reach nobody outside with one."""
    _restrict(_ruleset(0, 0))


def restrict(rules: Iterable[tuple[str, int]]) -> None:
    """Allow the given access below each path, and to nothing else. What does not exist is left out."""
    ruleset = _ruleset(_ALL, _TCP)
    for path, access in rules:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            allowed = access if os.path.isdir(f"/proc/self/fd/{fd}") else access & _OF_FILES
            rule = struct.pack("=Qi", allowed, fd)
            _syscall("landlock_add_rule", _ADD, ruleset, _PATH_BENEATH, rule, 0)
        finally:
            os.close(fd)
    _restrict(ruleset)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install_filter(program: bytes) -> int:
    """Load a filter for this process; the descriptor on which its questions arrive. Needs no_new_privileges."""
    buffer = ctypes.create_string_buffer(program, len(program))
    argument = _Program(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    number = _SECCOMP[os.uname().machine]
    return _syscall("seccomp", number, 1, _NEW_LISTENER | _WAIT_KILLABLE, ctypes.byref(argument))
