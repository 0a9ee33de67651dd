"""The executor's side: one nursery per thread that starts steps, made when it is first needed.

Per thread, since what a nursery forks is a child of the thread that made it, and a runner dies with that thread.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import interlock.executor
from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.nursery import program
from interlock.executor.sandbox.nursery.order import Order

_PATIENCE: Final = 20.0
_PROGRAM: Final = "import sys; sys.path.insert(0, {!r}); from {} import main; main()"
_own = threading.local()


class Nursery:
    """A nursery of this thread's. `pid`: its process; `inherited`: bytes of memory that what it forks has from it, at
    most.

    Blocks for tens of milliseconds. Raises InterlockError(SANDBOX_UNAVAILABLE) when it does not start.
    """

    def __init__(self) -> None:
        source = str(Path(interlock.executor.__file__).resolve().parents[2])
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(_PATIENCE)
        log = os.memfd_create("log")
        try:
            # -I, -S, -B: nothing of the environment or of the user is imported, and nothing is written.
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-B",
                    "-c",
                    _PROGRAM.format(source, program.__name__),
                    str(theirs.fileno()),
                    program.NAME,
                ],
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=(theirs.fileno(),),
                umask=0o022,
                process_group=0,
            )
            process.returncode = 0  # waited for by `_end`
            self.pid = process.pid
            theirs.close()
            self._finalizer = weakref.finalize(self, _end, self._channel, process.pid)
            said = self._answer()
            if said is None:
                words = os.pread(log, 2000, 0).decode("utf-8", "replace").strip()
                raise _unavailable(f"its process did not start: {words[-500:]}")
            self.inherited = said * 1024
        finally:
            os.close(log)

    def start(self, order: Order, descriptors: Mapping[int, int]) -> int | None:
        """Start a process; its number, or None when the nursery is gone and nothing was started.

        `descriptors`: what it has, by the number that it has it by. Raises InterlockError(SANDBOX_UNAVAILABLE).
        """
        if len(descriptors) >= program.MOST:
            raise _unavailable("the step is given too many files")
        told = os.memfd_create("order")
        try:
            os.write(told, order.encode())
            os.lseek(told, 0, os.SEEK_SET)
            places = struct.pack(f"={len(descriptors)}i", *descriptors)
            socket.send_fds(self._channel, [places], [told, *descriptors.values()])
        except (BrokenPipeError, ConnectionResetError):
            self.close()
            return None
        finally:
            os.close(told)
        answer = self._answer()
        if answer is None:
            self._give_up()
            raise _unavailable("no answer came")
        if answer < 0:
            self.close()
            raise _unavailable(os.strerror(-answer))
        return answer

    def _give_up(self) -> None:
        """Close it, and see to it that what nobody waits for any more does not run: what was forked and has not
        answered ends since it cannot answer now, and what has answered meanwhile is ended here."""
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        self._channel.setblocking(False)
        late = self._answer()
        if late is not None and late > 0:
            _kill(late)
        self.close()

    def _answer(self) -> int | None:
        with suppress(OSError):
            data = self._channel.recv(program.ANSWER.size)
            return int(program.ANSWER.unpack(data)[0]) if len(data) == program.ANSWER.size else None
        return None

    def close(self) -> None:
        """End it; what it has started goes on. Idempotent."""
        self._finalizer()

    @property
    def closed(self) -> bool:
        """Whether it was."""
        return not self._finalizer.alive


def mine() -> Nursery:
    """This thread's; made where there is none, or where it has ended. Raises InterlockError(SANDBOX_UNAVAILABLE)."""
    found: Nursery | None = getattr(_own, "nursery", None)
    if found is None or found.closed:
        found = _own.nursery = Nursery()
    return found


def start(order: Order, descriptors: Mapping[int, int]) -> tuple[int, int]:
    """Start a process by this thread's nursery, on the event loop's thread: its number, and `Nursery.inherited`.

    Blocks for about a millisecond. Raises InterlockError(SANDBOX_UNAVAILABLE).
    """
    for _ in range(2):
        nursery = mine()
        pid = nursery.start(order, descriptors)
        if pid is not None:
            return pid, nursery.inherited
    raise _unavailable("its process has ended twice")


def _end(channel: socket.socket, pid: int) -> None:
    channel.close()
    _kill(pid)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _unavailable(why: str) -> InterlockError:
    return InterlockError(
        Reason.SANDBOX_UNAVAILABLE,
        f"A step's processes cannot be started: {why}.",
        fix="Try again; look for limits on processes, memory or open files of the executor.",
    )
