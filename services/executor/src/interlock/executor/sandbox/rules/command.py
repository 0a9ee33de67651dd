"""The command's side of a step: from the fork to the program."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import sys
from contextlib import suppress
from typing import Final, NoReturn

from interlock.executor.sandbox.nursery.order import join
from interlock.executor.sandbox.rules import kernel
from interlock.executor.sandbox.rules.plan import Plan

_SHELL: Final = b"/bin/sh"
SANDBOX, DIRECTORY, PROGRAM = b"s", b"d", b"p"
"""What was at fault, before the number of the error, when a command could not be started."""


def become_command(plan: Plan, gate: int, report: socket.socket) -> NoReturn:
    """In the forked child: confine it, hand the filter's descriptor to the supervisor, wait, execute.

    What goes wrong is written to `report`; it closes when the program runs.
    """
    fault = SANDBOX
    try:
        _prepare(plan, gate, report)
        fault = DIRECTORY
        _enter(plan)
        fault = SANDBOX
        _confine(plan, report)
        if os.read(gate, 1) == b"x":
            os.close(gate)
            fault = PROGRAM
            _execute([part.encode() for part in plan.argv], plan.env)
    except OSError as error:
        with suppress(OSError):
            report.send(fault + struct.pack("=i", error.errno or errno.EIO))
    os._exit(127)


def _prepare(plan: Plan, gate: int, report: socket.socket) -> None:
    join(plan.joins)
    os.setsid()
    kernel.die_with_parent(signal.SIGKILL)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and what is ignored is inherited
    os.umask(0o022)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    kept = sorted((gate, report.fileno()))
    last = 3
    for fd in kept:
        os.closerange(last, fd)
        last = fd + 1
    os.closerange(last, 1 << 20)


def _enter(plan: Plan) -> None:
    os.chdir(os.path.join(plan.workspace, plan.working_dir))
    if not (os.getcwd() + "/").startswith(plan.workspace + "/"):
        # A symlink out: there is nothing there, as far as the step is concerned.
        raise FileNotFoundError(errno.ENOENT, "")


def _confine(plan: Plan, report: socket.socket) -> None:
    kernel.restrict((*plan.rules, (f"/proc/{os.getpid()}", kernel.READ)))
    listener = kernel.install_filter(plan.program())
    socket.send_fds(report, [b"+"], [listener])
    os.close(listener)


def _execute(argv: list[bytes], env: dict[str, str]) -> None:
    """As execvp does. Returns only by raising OSError."""
    environment = {name.encode(): value.encode() for name, value in env.items()}
    name, found = argv[0], FileNotFoundError(errno.ENOENT, "")
    directories = [b""] if b"/" in name else env.get("PATH", "").encode().split(b":")
    refused: OSError | None = None
    for directory in directories:
        try:
            _execute_file(os.path.join(directory or b".", name) if directory else name, argv, environment)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            refused = error
    raise refused or found


def _execute_file(path: bytes, argv: list[bytes], env: dict[bytes, bytes]) -> None:
    try:
        os.execve(path, argv, env)  # noqa: S606 - running commands is what this is for
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    os.execve(_SHELL, [_SHELL, path, *argv[1:]], env)  # noqa: S606 - the same


def fail(text: str) -> NoReturn:
    """End the supervisor with words that the executor tells."""
    sys.stderr.write(text)
    sys.stderr.flush()
    os._exit(1)
