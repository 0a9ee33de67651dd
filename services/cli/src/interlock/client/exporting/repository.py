"""Writing commits into a new git repository, with nothing of the user's or the machine's configuration in force."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from interlock.common.errors import InterlockError, Reason

_ATTRIBUTES: Final = "* -text !eol -ident -filter -working-tree-encoding\n"
"""Whatever the files' own attributes ask for, what is checked out is what was committed, byte for byte."""

_SETTINGS: Final = (
    ("core.autocrlf", "false"),
    ("core.protectNTFS", "false"),
    ("core.protectHFS", "false"),
    ("core.quotePath", "true"),
)


async def write_repository(directory: Path, stream: AsyncIterator[bytes]) -> None:
    """Make `directory`, which exists and is empty, a repository of what `stream` says for `git fast-import`.

    Its branch `main` is checked out. The stream is read as fast as git takes it. Raises INVALID_ARGUMENT where there
    is no git, INTERNAL with git's last words when it fails.
    """
    await _git(directory, "init", "--quiet", "--template=", "--initial-branch=main")
    for name, value in _SETTINGS:
        await _git(directory, "config", name, value)
    info = directory / ".git" / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text(_ATTRIBUTES)
    await _import(directory, stream)
    await _git(directory, "read-tree", "-u", "--reset", "refs/heads/main")


async def _import(directory: Path, stream: AsyncIterator[bytes]) -> None:
    process = await _start(directory, "fast-import", "--quiet", "--done", stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    said = asyncio.ensure_future(process.stderr.read(1 << 16))
    try:
        async for data in stream:
            process.stdin.write(data)
            await process.stdin.drain()
        process.stdin.close()
    except (BrokenPipeError, ConnectionResetError):
        pass  # git has ended: it says why
    except BaseException:
        process.kill()
        await process.wait()
        said.cancel()
        raise
    _check("fast-import", await process.wait(), await said)


async def _git(directory: Path, *arguments: str) -> None:
    process = await _start(directory, *arguments, stdin=asyncio.subprocess.DEVNULL)
    _, said = await process.communicate()
    _check(arguments[0], process.returncode, said)


async def _start(directory: Path, *arguments: str, stdin: int) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            "git",
            *arguments,
            cwd=directory,
            env=_environment(directory),
            stdin=stdin,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            "There is no git on this machine.",
            field="format",
            fix="Install git, or export as a directory or a tar archive.",
        ) from None


def _environment(directory: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "HOME": str(directory),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CEILING_DIRECTORIES": str(directory.parent),
        "GIT_TERMINAL_PROMPT": "0",
    }


def _check(what: str, code: int | None, said: bytes) -> None:
    if code:
        words = said.decode("utf-8", "replace").strip().splitlines()
        last = next((line for line in words if line.startswith("fatal:")), words[-1] if words else "")
        raise InterlockError(
            Reason.INTERNAL, f"`git {what}` failed with {code}: {ascii(last)[1:-1][:300]}", field="format"
        )
