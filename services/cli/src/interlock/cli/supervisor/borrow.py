"""Services for the time of one command, shared with other commands on the same data directory."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from interlock.cli.output import progress
from interlock.cli.supervisor.listening import listens
from interlock.cli.supervisor.locks import USERS_FILE, Lock
from interlock.client.endpoints import Endpoints, is_locked, read_supervisor
from interlock.common.config import data_dir, load_token
from interlock.common.errors import InterlockError, Reason

START_SECONDS = 180.0
_STOP_SECONDS = 60.0
_QUIET_SECONDS = 4.0
_PAUSE = 0.1
_ASK_SECONDS = 3.0


@asynccontextmanager
async def services(env: Mapping[str, str], fallback: Endpoints) -> AsyncIterator[Endpoints]:
    """Endpoints to use: of a running supervisor, else `fallback` if it answers, else of one started now.

    A supervisor started here stops when the last command that uses it has ended.
    """
    directory = data_dir(env)
    users = Lock(directory / USERS_FILE)
    users.open()
    starter = _Starter(directory, env)
    try:
        if not await users.acquire(_STOP_SECONDS, shared=True):
            raise _busy(directory)
        yield await starter.find(fallback)
    finally:
        users.close()
        await starter.leave()


class _Starter:
    def __init__(self, directory: Path, env: Mapping[str, str]) -> None:
        self._directory = directory
        self._env = {**env, "INTERLOCK_DATA_DIR": str(directory)}
        self._child = 0
        self._temporary = 0  # pid of the supervisor to see off

    async def find(self, fallback: Endpoints) -> Endpoints:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_SECONDS
        while loop.time() < deadline:
            running = read_supervisor(self._directory)
            if running is not None:
                self._temporary = running.pid if running.temporary else 0
                return running.endpoints
            if is_locked(self._directory):
                await asyncio.sleep(_PAUSE)  # another command is starting it
            elif await listens(fallback.orchestrator) and await _accepts(fallback.orchestrator, self._env):
                return fallback
            else:
                await self._start()
        raise _busy(self._directory)

    async def leave(self) -> None:
        """Wait until a temporary supervisor has ended, unless another command goes on using it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _STOP_SECONDS
        while self._temporary and _exists(self._temporary) and loop.time() < deadline:
            self._reap()
            if is_locked(self._directory) and _in_use(self._directory):
                return
            await asyncio.sleep(_PAUSE)
        self._reap()

    async def _start(self) -> None:
        progress("Nothing is running; starting Interlock for the time of this command …")
        path = self._directory / "logs" / "supervisor.log"
        reader, writer = os.pipe()
        try:
            self._child = _spawn(self._env, writer, path)
        finally:
            os.close(writer)
        with os.fdopen(reader, "rb") as file:
            line = await first_line(file, path)
        await self._check(line, path)

    async def _check(self, line: bytes, log: Path) -> None:
        """Raise what the supervisor reports. That another one was faster is no error."""
        try:
            answer = json.loads(line)
        except ValueError:
            answer = {"error": {"reason": "UNAVAILABLE", "message": f"Interlock did not start; see {log}."}}
        if "error" not in answer:
            return
        while self._child:
            self._reap()
            await asyncio.sleep(_PAUSE)
        if is_locked(self._directory):
            return
        error = dict(answer["error"])
        raise InterlockError(Reason(error.pop("reason")), error.pop("message"), **error)

    def _reap(self) -> None:
        if self._child and os.waitpid(self._child, os.WNOHANG)[0]:
            self._child = 0


def _spawn(env: Mapping[str, str], output: int, log: Path) -> int:
    """Start a temporary supervisor in a session of its own: it may outlive this command. Returns its pid."""
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    line = [sys.executable, "-P", "-m", "interlock.cli.supervisor"]
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_OPEN, 2, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
    ]
    return os.posix_spawn(line[0], line, dict(env), file_actions=actions, setsid=True)


async def first_line(file: BinaryIO, log: Path, patience: float = _QUIET_SECONDS) -> bytes:
    """The supervisor's one line; empty when it ended, or took too long, without one.

    Whoever waits is told every `patience` seconds how far it is, by the last line of its log.
    """
    readable = asyncio.Event()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_SECONDS
    loop.add_reader(file.fileno(), readable.set)
    try:
        while not readable.is_set():
            if loop.time() > deadline:
                return b""
            try:
                await asyncio.wait_for(readable.wait(), patience)
            except TimeoutError:
                progress(f"Still starting: {_last_line(log) or 'processes and the database'} …")
    finally:
        loop.remove_reader(file.fileno())
    return file.readline(64 * 1024)


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return lines[-1][:200] if lines else ""


def _in_use(directory: Path) -> bool:
    """Whether other commands share the services. The supervisor holds the lock alone while it stops."""
    probe = Lock(directory / USERS_FILE)
    probe.open()
    try:
        return not probe.attempt() and probe.attempt(shared=True)
    finally:
        probe.close()


def _exists(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    # "pid (name) state …"; the name may hold anything, also parentheses.
    return not stat.rpartition(b")")[2].strip().startswith(b"Z")


async def _accepts(address: str, env: Mapping[str, str]) -> bool:
    """Whether what listens there is an orchestrator that takes our token; another person's is not ours to use."""
    from interlock.common.client import channel, rpc_errors
    from interlock.v1.orchestrator_pb2 import ListRunsRequest
    from interlock.v1.orchestrator_pb2_grpc import OrchestratorStub

    try:
        token = load_token(create=False, env=env)
        async with channel(address, token, service="orchestrator") as opened:
            with rpc_errors("orchestrator"):
                await OrchestratorStub(opened).ListRuns(ListRunsRequest(page_size=1), timeout=_ASK_SECONDS)
    except InterlockError:
        return False
    return True


def _busy(directory: Path) -> InterlockError:
    return InterlockError(
        Reason.UNAVAILABLE,
        f"Interlock on {directory} is starting or stopping and did not finish in time.",
        field="data-dir",
        fix=f"Try again; {directory}/logs says what it does.",
    )
