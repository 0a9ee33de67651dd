"""One service process: started, logged, restarted with back-off, stopped with everything it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from interlock.cli.supervisor.logfile import LogFile

HOLD = "INTERLOCK_HOLD_FD"
"""As `interlock.common.process` reads it."""

# Runs in the new process before the service: asks the kernel for SIGTERM when the supervisor dies, however it
# dies, then becomes the service. The check closes the gap between the fork and the request.
_SHIM = (
    "import ctypes,os,sys;"
    "ctypes.CDLL(None).prctl(1,15,0,0,0);"
    "os.getppid()==int(sys.argv[1]) or sys.exit(1);"
    "os.execv(sys.argv[2],sys.argv[2:])"
)
# A client waits 30 s for a service (interlock.client.retry): the longest pause and a start must fit into that.
_FIRST_DELAY, _LONGEST_DELAY, _STEADY_SECONDS = 0.5, 10.0, 60.0
_LINE_LIMIT = 1024 * 1024

Report = Callable[[str], None]


class Child:
    """Keeps one service running. `start` once, `stop` once.

    A `held` one imports its program and then waits for `release`, once; when it is started again, it does not wait.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        log: LogFile,
        report: Report,
        first_delay: float = _FIRST_DELAY,
        held: bool = False,
    ) -> None:
        self.name = name
        self.log = log
        self.restarts = 0
        self.exited = asyncio.Event()
        self._command = [sys.executable, "-I", "-S", "-c", _SHIM, str(os.getpid()), *command]
        self._env = dict(env)
        self._report = report
        self._first_delay = first_delay
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._held = held
        self._hold: int | None = None

    @property
    def pid(self) -> int:
        """Pid of the process; 0 when there is none at the moment."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else 0

    async def start(self) -> None:
        """Start the process and keep it running."""
        if self._held:
            reader, self._hold = os.pipe()
            try:
                await self._spawn(reader)
            finally:
                os.close(reader)
        else:
            await self._spawn()
        self._keeper = asyncio.create_task(self._keep(), name=f"keep-{self.name}")

    def release(self) -> None:
        """Let a held process go on."""
        if self._hold is not None:
            os.close(self._hold)
            self._hold = None

    async def stop(self, grace: float) -> None:
        """SIGTERM, `grace` seconds to drain, then SIGKILL for it and whatever it left behind."""
        self._stopping.set()
        self._signal(signal.SIGTERM)
        if self._process is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), grace)
        self._kill_group()
        if self._keeper is not None:
            await self._keeper
        self.release()
        self.log.close()

    async def _spawn(self, hold: int | None = None) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._env if hold is None else {**self._env, HOLD: str(hold)},
            pass_fds=() if hold is None else (hold,),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the supervisor, which stops the services in order
            limit=_LINE_LIMIT,
        )

    async def _keep(self) -> None:
        delay = self._first_delay
        while True:
            started = asyncio.get_running_loop().time()
            code = await self._follow()
            self.exited.set()
            self._kill_group()
            if self._stopping.is_set():
                return
            if asyncio.get_running_loop().time() - started > _STEADY_SECONDS:
                delay = self._first_delay
            self._report(f"{self.name} ended with {_ending(code)}; starting it again in {delay:.1f} s")
            if await self._stopped_within(delay):
                return
            self.restarts += 1
            delay = min(delay * 2, _LONGEST_DELAY)
            await self._spawn()

    async def _follow(self) -> int:
        """Copy the process's output to its log until it ends."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        copying = asyncio.create_task(self._copy(process.stdout))
        code = await process.wait()
        # A process it left behind may hold the pipe open; it is killed next.
        self._kill_group()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(copying, 2)
        return code

    async def _copy(self, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await stream.readuntil(b"\n")
            except asyncio.IncompleteReadError as rest:
                if rest.partial:
                    self.log.write(rest.partial + b"\n")
                return
            except asyncio.LimitOverrunError as overrun:
                line = await stream.readexactly(overrun.consumed)
            self.log.write(line)

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    def _signal(self, number: signal.Signals) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _kill_group(self) -> None:
        """End what is left of the process's session group; it was started as the leader of one."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
