"""Services for the time of one command, shared with other commands on the same data directory."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from interlock.cli.output import progress
from interlock.cli.supervisor.locks import USERS_FILE, Lock
from interlock.client.endpoints import Endpoints, is_locked, read_running
from interlock.common.addresses import parse_address
from interlock.common.config import data_dir
from interlock.common.errors import InterlockError, Reason

START_SECONDS = 180.0
_STOP_SECONDS = 60.0
_OTHERS_SECONDS = 1.0
_PAUSE = 0.1


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
        self._process: asyncio.subprocess.Process | None = None

    async def find(self, fallback: Endpoints) -> Endpoints:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_SECONDS
        while loop.time() < deadline:
            running = read_running(self._directory)
            if running is not None:
                return running
            if is_locked(self._directory):
                await asyncio.sleep(_PAUSE)  # another command is starting it
            elif await _listens(fallback.orchestrator):
                return fallback
            else:
                await self._start()
        raise _busy(self._directory)

    async def leave(self) -> None:
        """Wait until the services have stopped, unless another command goes on using them."""
        if self._process is None:
            return
        loop = asyncio.get_running_loop()
        left = loop.time()
        while self._process.returncode is None and loop.time() - left < _STOP_SECONDS:
            in_use = read_running(self._directory) is not None
            if in_use and loop.time() - left > _OTHERS_SECONDS:
                return
            try:
                await asyncio.wait_for(self._process.wait(), _PAUSE)
            except TimeoutError:
                continue

    async def _start(self) -> None:
        progress("Nothing is running; starting Interlock for the time of this command …")
        path = self._directory / "logs" / "supervisor.log"
        with _truncated(path) as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "interlock.cli.supervisor",
                env=self._env, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), START_SECONDS)
        await self._check(line, path)

    async def _check(self, line: bytes, log: Path) -> None:
        """Raise what the supervisor reports. That another one was faster is no error."""
        try:
            answer = json.loads(line)
        except ValueError:
            answer = {"error": {"reason": "UNAVAILABLE", "message": f"Interlock did not start; see {log}."}}
        if "error" not in answer:
            return
        process, self._process = self._process, None
        assert process is not None
        await process.wait()
        if is_locked(self._directory):
            return
        error = dict(answer["error"])
        raise InterlockError(Reason(error.pop("reason")), error.pop("message"), **error)


def _truncated(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return open(path, "wb")


async def _listens(address: str) -> bool:
    """Whether something accepts connections there."""
    parsed = parse_address(address)
    if parsed.is_unix:
        opening = asyncio.open_unix_connection(parsed.path)
    else:
        opening = asyncio.open_connection(parsed.host, parsed.port)
    try:
        _, writer = await asyncio.wait_for(opening, 1)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _busy(directory: Path) -> InterlockError:
    return InterlockError(
        Reason.UNAVAILABLE,
        f"Interlock on {directory} is starting or stopping and did not finish in time.",
        field="data-dir",
        fix=f"Try again; {directory}/logs says what it does.",
    )
