"""The nursery's process: forks on order. It never reads what an order holds; only the new process does.

Messages (one packet each): an order is the numbers that its descriptors shall have, with the descriptors, the first
of which is the `Order`; the answer is the new process's number, told by itself, or a negative error number.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import gc
import os
import signal
import socket
import struct
import sys
from contextlib import suppress
from typing import Final, NoReturn

from interlock.executor.sandbox.nursery.counts import bound_counts
from interlock.executor.sandbox.nursery.order import Order, join
from interlock.executor.sandbox.rules import kernel, supervisor
from interlock.executor.sandbox.rules.command import fail

ANSWER: Final = struct.Struct("=i")
NAME: Final = "interlock-nursery".ljust(40, "-")
"""The last argument, in whose place a supervisor has its own name."""
MOST: Final = 250
"""Descriptors of one order; the kernel passes no more than 253 at once."""

_CLONE: Final = {"x86_64": 56, "aarch64": 220}
_CLONE_PARENT: Final = 0x8000
_RT_SIGACTION: Final = {"x86_64": 13, "aarch64": 134}
_LIBRARYS_OWN: Final = (32, 33)
"""Signals that the C library keeps for its threads, and lets nobody set."""
_ARGUMENTS_START, _ARGUMENTS_END = 45, 46  # of /proc/self/stat, counted after the name
# Keeps the interpreter's lock over a call, as a fork has to.
_libc = ctypes.PyDLL(None, use_errno=True)


def main() -> NoReturn:
    """The first argument is the descriptor of the socket. Ends when its other side does."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    _forget_signals()
    name_at = _name_at()
    gc.freeze()
    channel.send(ANSWER.pack(_peak()))
    while True:
        data, fds, _, _ = socket.recv_fds(channel, 4 * MOST, MOST)
        if not data:
            os._exit(0)
        pid = _fork()
        if pid == 0:
            _begin(channel, fds, struct.unpack(f"={len(data) // 4}i", data), name_at)
        if pid < 0:
            channel.send(ANSWER.pack(pid))
        for fd in fds:
            os.close(fd)


def _peak() -> int:
    """KiB of memory that it has had at most; getrusage(2) counts what it was before it was executed, too."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))


def _forget_signals() -> None:
    """Whoever started the executor may have had signals ignored or blocked (`nohup`, a shell's `&`), and a step would
    inherit that."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    default = ctypes.create_string_buffer(32)  # the kernel's struct sigaction: handler, flags, restorer, mask
    for own in _LIBRARYS_OWN:
        arguments = (ctypes.c_long(own), default, None, ctypes.c_long(8))
        _libc.syscall(ctypes.c_long(_RT_SIGACTION[os.uname().machine]), *arguments)


def _fork() -> int:
    """As os.fork, but the child is a sibling: its parent is this process's. A negative error number when it fails."""
    calls = ctypes.pythonapi
    calls.PyOS_BeforeFork()
    arguments = [ctypes.c_long(number) for number in (_CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)]
    pid = int(_libc.syscall(ctypes.c_long(_CLONE[os.uname().machine]), *arguments))
    failed = -ctypes.get_errno()
    if pid == 0:
        calls.PyOS_AfterFork_Child()
    else:
        calls.PyOS_AfterFork_Parent()
    return pid if pid >= 0 else failed


def _begin(channel: socket.socket, fds: list[int], places: tuple[int, ...], name_at: int) -> NoReturn:
    """In the new process."""
    try:
        os.setpgid(0, 0)
        channel.send(ANSWER.pack(os.getpid()))
        order = Order.read(fds[0])
        _arrange(fds[1:], places)
        if order.supervise >= 0:
            _rename(name_at, order.argv[0])
            supervisor.main(order.supervise)
        if order.bound >= 0:
            bound_counts(order.bound)
            os._exit(0)
        _execute(order)
    except OSError as error:
        fail(f"{error.strerror or error}")
    finally:
        os._exit(1)


def _arrange(fds: list[int], places: tuple[int, ...]) -> None:
    """Give each descriptor its number, nothing to read at 0, and close everything else."""
    above = max((2, *fds, *places)) + 1
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD, above) for fd in fds]
    for fd, place in zip(moved, places, strict=True):
        os.dup2(fd, place)
    null = os.open("/dev/null", os.O_RDONLY)
    if null != 0:
        os.dup2(null, 0)
    last = 1
    for place in sorted(places):
        os.closerange(last, place)
        last = place + 1
    os.closerange(last, 1 << 20)


def _rename(address: int, name: str) -> None:
    data = name.encode()
    if len(data) > len(NAME):
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    ctypes.memmove(address, data.ljust(len(NAME), b"\0"), len(NAME))


def _name_at() -> int:
    """Where this process's name is in its memory, among its arguments."""
    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    start, end = int(fields[_ARGUMENTS_START]), int(fields[_ARGUMENTS_END])
    return start + ctypes.string_at(start, end - start).rindex(NAME.encode())


def _execute(order: Order) -> None:
    join(order.joins)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and what is ignored is inherited
    if order.switch:
        os.setgroups([])
        os.setresgid(order.gid, order.gid, order.gid)
        os.setresuid(order.uid, order.uid, order.uid)
    kernel.die_with_parent(signal.SIGKILL)
    if os.getppid() != order.parent:
        os._exit(1)
    os.execve(order.program, order.argv, {})  # noqa: S606 - starting runners is what this is for


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
