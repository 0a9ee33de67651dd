"""Supervises one step that has no namespaces: starts it behind its rules, and ends everything it left.

The supervisor stands in a Landlock domain of signals of its own, the command in one below it. So the supervisor's
`kill(-1)` reaches every process of the step and nobody else, at once and without a race with fork; and the step
reaches neither the supervisor nor anybody else. As the reaper of orphans, the supervisor knows when none is left.
It also makes the changes of modes and times that the filter asks it for (`metadata`).

When the executor goes away, the gate's pipe ends, and the supervisor ends the step.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import signal
import socket
import struct
from contextlib import suppress
from typing import NoReturn

from interlock.executor.sandbox.rules import kernel
from interlock.executor.sandbox.rules.command import SANDBOX, become_command, fail
from interlock.executor.sandbox.rules.metadata import Metadata
from interlock.executor.sandbox.rules.plan import Plan


def main(told: int) -> None:
    """Supervise the step of the plan that is read from the descriptor `told`; in a process of the nursery's."""
    plan = Plan.read(told)
    try:
        _become(plan)
        supervisor = _Supervisor(plan)
    except OSError as error:
        fail(f"{error.strerror or error}")
    supervisor.serve()


def _become(plan: Plan) -> None:
    """Give up everything but what a step may have, but for the rules."""
    kernel.no_new_privileges()
    kernel.enter_scope()
    # Whoever started this is outside the domain. If the kernel let a signal through, kill(-1) would end everything
    # of this uid: then there must be no step.
    if _reaches(os.getppid()):
        fail("the kernel's Landlock does not keep signals in")
    if plan.switch:
        kernel.drop_bounding_set()
        os.setgroups([])
        os.setresgid(plan.gid, plan.gid, plan.gid)
        os.setresuid(plan.uid, plan.uid, plan.uid)
    if 0 in (*os.getresuid(), *os.getresgid()):
        fail("the step would run as root")
    kernel.inherit_orphans()


def _reaches(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return False
    return True


class _Supervisor:
    def __init__(self, plan: Plan) -> None:
        self._plan, self._stopped = plan, False
        self._own_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        gate_read, self._gate = os.pipe()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._woken, waker = os.pipe()
        for fd in (self._woken, waker):
            os.set_blocking(fd, False)
        self.child = os.fork()
        if self.child == 0:
            become_command(plan, gate_read, theirs)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._stop)
        kernel.hide_memory()
        theirs.close()
        for fd in (gate_read, *plan.joins):
            os.close(fd)
        self._report = ours
        self._listener = self._meet()
        places = (os.fsencode(plan.workspace), os.fsencode(plan.scratch))
        self._metadata = Metadata(self._listener, places, plan.uid, plan.gid)
        self._forget_output()
        self._tell({"child-pid": self.child})

    def _meet(self) -> int:
        """The filter's descriptor, which the command sends when it is confined."""
        data, fds, _, _ = socket.recv_fds(self._report, 16, 1)
        if data != b"+" or not fds:
            self._explain(data)
            raise SystemExit(1)
        return fds[0]

    def _forget_output(self) -> None:
        """Hold the command's output open no longer."""
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.close(null)

    def _tell(self, document: dict[str, object]) -> None:
        with suppress(BrokenPipeError):
            os.write(self._plan.status, json.dumps(document).encode() + b"\n")

    def _explain(self, data: bytes) -> None:
        """Tell why the command was never executed."""
        if len(data) != 5:
            data = SANDBOX + struct.pack("=i", errno.EIO)
        what, number = data[:1], struct.unpack("=i", data[1:])[0]
        self._tell({"failed": what.decode(), "error": os.strerror(number)})

    def serve(self) -> NoReturn:
        """Until the command ends or the executor says so; then end the rest, report, and exit."""
        poll = select.poll()
        for fd in (self._plan.gate, self._listener, self._woken):
            poll.register(fd, select.POLLIN)
        code: int | None = None
        while code is None and not self._stopped:
            ready = dict(poll.poll())
            if ready.get(self._listener, 0) & select.POLLIN:
                self._metadata.serve()
            elif self._listener in ready:
                poll.unregister(self._listener)
            if self._woken in ready:
                os.read(self._woken, 4096)
                code = self._reap()
            if self._plan.gate in ready:
                self._obey()
        self._finish(code)

    def _stop(self, *_: object) -> None:
        self._stopped = True

    def _obey(self) -> None:
        """One order: `x` lets the command run; anything else, and the pipe's end, ends it."""
        if os.read(self._plan.gate, 1) != b"x":
            self._stopped = True
            return
        with suppress(BrokenPipeError):
            os.write(self._gate, b"x")

    def _reap(self, *, block: bool = False) -> int | None:
        """Collect the dead; the command's code if it is one of them."""
        code = None
        while True:
            try:
                pid, status = os.waitpid(-1, 0 if block else os.WNOHANG)
            except ChildProcessError:
                return code
            if pid == 0:
                return code
            if pid == self.child:
                code = os.waitstatus_to_exitcode(status)
            if block:
                self._kill()

    def _kill(self) -> None:
        # Everything of this uid in the domain but this process itself.
        with suppress(OSError):
            os.kill(-1, signal.SIGKILL)

    def _finish(self, code: int | None) -> NoReturn:
        self._kill()
        late = self._reap(block=True)
        code = late if code is None else code
        self._report.setblocking(False)
        with suppress(BlockingIOError):
            said = self._report.recv(16)
            if said:
                self._explain(said)
                code = None
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Until it executes something, a forked child counts its parent's memory as its own.
        peak = used.ru_maxrss if used.ru_maxrss > self._own_rss * 5 // 4 else 0
        document: dict[str, object] = {
            "user-us": int(used.ru_utime * 1_000_000),
            "system-us": int(used.ru_stime * 1_000_000),
            "max-rss": peak * 1024,
        }
        if code is not None:
            document["exit-code"], document["signal"] = (code, 0) if code >= 0 else (128 - code, -code)
        self._tell(document)
        os._exit(0)
