"""Services in a moment: forked from a process that has imported them all, one for each process of tests.

    async with forked_module(log, "interlock.executor", "--ready-file", str(ready), env=env) as child:
        await child.wait_for_file(ready)

As `python_module`, with two differences: how one has ended is not known, and /proc tells another command line and
environment for it. Tests about either start a process of its own.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.processes import ROOT, Child

UNKNOWN = -1
"""The `returncode` of a process that has ended."""


class Zygote:
    """The process that forks services: see `tests.support.zygote`."""

    def __init__(self, log: Path) -> None:
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "GRPC_ENABLE_FORK_SUPPORT": "0",
        }
        self._asking = threading.Lock()
        with open(log, "wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.zygote"],
                cwd=ROOT,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._read() == "ready", log.read_text()

    def start(self, module: str, arguments: list[str], env: dict[str, str], log: Path) -> int:
        """The pid of a new one."""
        wanted = {"module": module, "arguments": arguments, "env": env, "log": str(log)}
        assert self._process.stdin is not None
        with self._asking:  # services are started in threads, and each answer belongs to one of them
            self._process.stdin.write(json.dumps(wanted) + "\n")
            self._process.stdin.flush()
            return int(self._read())

    def close(self) -> None:
        """End it, and all that it has started."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


class Forked:
    """One of its processes, with what tests use of `asyncio.subprocess.Process`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = -1
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            self._fd = os.pidfd_open(pid)

    @property
    def returncode(self) -> int | None:
        """UNKNOWN when it has ended."""
        if self._fd >= 0 and select.select([self._fd], [], [], 0)[0]:
            os.close(self._fd)
            self._fd = -1
        return None if self._fd >= 0 else UNKNOWN

    def send_signal(self, sign: int) -> None:
        """Nothing, for one that has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, sign)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    async def wait(self) -> int:
        """Until it has ended; UNKNOWN."""
        while self.returncode is None:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.005)
        return UNKNOWN


@functools.cache
def zygote() -> Zygote:
    """The one of this process of tests; it ends with it."""
    place = Path(tempfile.mkdtemp(prefix="interlock-zygote-"))
    started = Zygote(place / "log")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    atexit.register(started.close)
    return started


@asynccontextmanager
async def forked_module(
    log: Path, module: str, *arguments: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[Child]:
    """`python -m module arguments…`; killed at the end if it still runs."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **(env or {})}
    pid = await asyncio.to_thread(zygote().start, module, list(arguments), environment, log)
    process = Forked(pid)
    try:
        yield Child(process, log)
    finally:
        process.kill()
        await process.wait()
