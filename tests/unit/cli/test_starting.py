"""What is said while services are started for a command."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.cli.supervisor.borrow import first_line


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def test_whoever_waits_is_told_how_far_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, said = tmp_path / "supervisor.log", ""

    def heard(text: str) -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return text in said

    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as file:
        waiting = asyncio.create_task(first_line(file, log, 0.01))
        await until(lambda: heard("Still starting: processes and the database …\n"))
        log.write_text("planner serves on 127.0.0.1:1\nexecutor serves on 127.0.0.1:2\n")
        await until(lambda: heard("Still starting: executor serves on 127.0.0.1:2 …\n"))
        os.write(writer, b'{"ready": true}\n')
        assert await waiting == b'{"ready": true}\n'
    os.close(writer)


async def test_nothing_is_said_when_it_is_there_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert await first_line(file, tmp_path / "none") == b""
    assert capsys.readouterr().err == ""
