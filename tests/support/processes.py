"""Real child processes for tests: started with this interpreter, waited for by their ready file, always ended."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[2]


class Process(Protocol):
    """What a child is: of `asyncio.subprocess`, or `tests.support.forked`."""

    pid: int

    @property
    def returncode(self) -> int | None: ...

    def send_signal(self, signal: int, /) -> None: ...

    def kill(self) -> None: ...

    def terminate(self) -> None: ...

    async def wait(self) -> int: ...


class Child:
    """A running `python -m …`; its output is kept in files that a failure message can show."""

    def __init__(self, process: Process, log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        """What it has written so far, stdout and stderr together."""
        return self._log.read_text(errors="replace")

    async def wait(self, seconds: float = 30.0) -> int:
        """Its exit code."""
        async with asyncio.timeout(seconds):
            return await self.process.wait()

    async def wait_for_file(self, path: Path, seconds: float = 30.0) -> str:
        """The content of a file it makes. Fails with its log when it ends before."""
        async with asyncio.timeout(seconds):
            while not (content := _read(path)):
                if self.process.returncode is not None:
                    raise AssertionError(f"ended with {self.process.returncode}:\n{self.log}")
                await asyncio.sleep(0.01)
        return content.strip()

    async def wait_for_log(self, text: str, seconds: float = 30.0) -> None:
        """Until its output holds `text`."""
        async with asyncio.timeout(seconds):
            while text not in self.log:  # noqa: ASYNC110 (another process writes it)
                await asyncio.sleep(0.01)


@asynccontextmanager
async def python_module(
    log: Path, module: str, *arguments: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[Child]:
    """`python -m module arguments…` from the repository's root; killed at the end if it still runs."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **(env or {})}
    with open(log, "wb") as output:  # noqa: ASYNC230 (a local file, once)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *arguments, cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    try:
        yield Child(process, log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
