"""The executor's side of a step's proxy: start it, let it into the step's namespace, hear what it did, end it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

import interlock.executor
from interlock.common import logs
from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.identity import Identity, check_identity
from interlock.executor.sandbox.launch import readable
from interlock.executor.sandbox.network.grant import Grant, NetworkRecord
from interlock.executor.sandbox.network.rules import MAX_ATTEMPTS_KEPT, MAX_MESSAGE, Attempt, decode_attempt

_log = logs.get("executor.network")
_HANDSHAKE: Final = 20.0
_END: Final = 10.0
_PROGRAM: Final = (
    "import sys; sys.path.insert(0, {!r}); from interlock.executor.sandbox.network.agent import main; main()"
)


class Link:
    """One step's proxy process. Made on the event loop's thread: the process ends with the thread that made it.

    `root_made`: the step's namespaces are made by root, and not by the uid of steps.
    """

    def __init__(self, grant: Grant, identity: Identity, *, root_made: bool = False) -> None:
        check_identity(identity)
        self._grant, self.record = grant, NetworkRecord()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        source = str(Path(interlock.executor.__file__).resolve().parents[2])
        with theirs:
            # -I, -S, -B: nothing of the environment or of the user is imported, and nothing is written.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", "-c", _PROGRAM.format(source), str(theirs.fileno())],
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                process_group=0,
            )
        self._pidfd = os.pidfd_open(self._process.pid)
        self._control.setblocking(False)
        self._ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        told = {
            "uid": identity.uid,
            "gid": identity.gid,
            "switch": identity.switch,
            "root_made": root_made,
            "rules": asdict(grant.rules),
        }
        self._first = json.dumps(told).encode()
        self._hearing = asyncio.create_task(self._hear())

    async def enter(self, pid: int) -> None:
        """Open the proxy inside the network namespace of a process that waits at its gate.

        Raises SANDBOX_UNAVAILABLE.
        """
        try:
            async with asyncio.timeout(_HANDSHAKE):
                await asyncio.get_running_loop().sock_sendall(self._control, self._first)
                self._pass_namespace(pid)
                problem = await asyncio.shield(self._ready)
        except OSError as error:
            problem = error.strerror or "it took too long"
        if problem:
            raise InterlockError(
                Reason.SANDBOX_UNAVAILABLE,
                f"The step's proxy could not be started: {problem}.",
                fix="In a container the system call setns must be allowed; see docs/sandbox.md, Network.",
            )

    def _pass_namespace(self, pid: int) -> None:
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(namespace).st_ino == os.stat("/proc/self/ns/net").st_ino:
                raise OSError(0, "the step has no network of its own")
            socket.send_fds(self._control, [b"enter"], [namespace])
        finally:
            os.close(namespace)

    def release(self) -> None:
        """The command may run now."""
        self._grant.used = True

    async def finish(self) -> NetworkRecord:
        """After the end of the step: what it did. The process has ended when this returns."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        try:
            async with asyncio.timeout(_END):
                await asyncio.shield(self._hearing)
                await readable(self._pidfd)
        except TimeoutError:
            self.record.problem = "the proxy did not end by itself"
        await self._end()
        return self.record

    async def _end(self) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        await readable(self._pidfd)
        self._process.wait()

    async def close(self) -> None:
        """End the process whatever it does, and close. Idempotent."""
        if self._pidfd < 0:
            return
        await self._end()
        self._hearing.cancel()
        await asyncio.gather(self._hearing, return_exceptions=True)
        self._control.close()
        os.close(self._pidfd)
        self._pidfd = -1

    async def _hear(self) -> None:
        loop, whole = asyncio.get_running_loop(), False
        try:
            while message := await loop.sock_recv(self._control, MAX_MESSAGE):
                whole = self._take(json.loads(message)) or whole
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self.record.problem = f"the proxy was not understood: {type(error).__name__}"
        if not whole:
            self.record.problem = self.record.problem or "the proxy ended before the step"
        if not self._ready.done():
            self._ready.set_result("its process ended")

    def _take(self, told: dict[str, object]) -> bool:
        """One message; True for the last."""
        if "ready" in told or "error" in told:
            if not self._ready.done():
                self._ready.set_result(str(told.get("error", "")))
        elif isinstance(made := told.get("attempt"), dict):
            attempt = decode_attempt(made)
            kept = self.record.total < MAX_ATTEMPTS_KEPT
            if kept:
                attempt.host, attempt.detail = map(self._grant.clean, (attempt.host, attempt.detail))
            self.record.add(attempt)
            if kept:
                _say(attempt)
        return "ended" in told


def _say(attempt: Attempt) -> None:
    _log.info(
        "network attempt",
        host=attempt.host,
        port=attempt.port,
        allowed=attempt.allowed,
        why=attempt.reason,
        address=attempt.address,
        sent=attempt.sent,
        received=attempt.received,
    )
