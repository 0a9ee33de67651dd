"""Runs payloads in a real sandbox, on a real fork, as the executor would.

pytest's tmp_path is closed to other users; when the tests run as root, steps run as a uid of their own that must be
able to reach its directories. So arenas are made below the system's temporary directory.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interlock.executor.files.remove import remove_path
from interlock.executor.sandbox.base import (
    DEFAULT_LIMITS,
    Fork,
    Limits,
    OutputSink,
    SandboxResult,
    SandboxSpec,
)
from interlock.executor.sandbox.confinement import Confinement
from interlock.executor.sandbox.disk import measure
from interlock.executor.sandbox.selection import BACKENDS


@contextmanager
def open_directory(prefix: str) -> Iterator[Path]:
    """A fresh directory that every user can traverse."""
    path = Path(tempfile.mkdtemp(prefix=prefix))
    path.chmod(0o755)
    try:
        yield path
    finally:
        remove_path(path)


@dataclass
class Arena:
    """One sandbox, and a base tree that every payload gets a fresh fork of."""

    sandbox: Any
    root: Path
    base: Path
    last: Fork | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def fork(self) -> Fork:
        directory = self.root / f"fork{next(self.numbers)}"
        directory.mkdir()
        copy = self.sandbox.tier.fork == "copy"
        if copy:
            shutil.copytree(self.base, directory / "up", symlinks=True)
        for name in ("up", "wk"):
            (directory / name).mkdir(exist_ok=True)
        self.give(directory)
        held = measure(str(directory / "up"), 1 << 20)
        return Fork(() if copy else (self.base,), directory / "up", directory / "wk", held=held)

    def give(self, path: Path) -> None:
        """To the step's uid, with everything below."""
        identity = self.sandbox.identity
        if not identity.switch:
            return
        for directory, names, files in os.walk(path):
            for name in (".", *names, *files):
                os.lchown(os.path.join(directory, name), identity.uid, identity.gid)

    def write(self, name: str, content: bytes | str) -> None:
        """A file of the base."""
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.give(self.base)

    @property
    def upper(self) -> Path:
        assert self.last is not None
        return self.last.upper

    async def run(
        self,
        command: str = "",
        *,
        argv: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        working_dir: str = "",
        limits: Limits = DEFAULT_LIMITS,
        sink: OutputSink | None = None,
        cancel: asyncio.Event | None = None,
        **changes: int,
    ) -> SandboxResult:
        self.last = self.fork()
        limits = dataclasses.replace(limits, **{"wall_us": 30_000_000, **changes})
        spec = SandboxSpec(
            argv=argv, command=command, env=env or {}, working_dir=working_dir, fork=self.last, limits=limits
        )
        result: SandboxResult = await self.sandbox.run(spec, sink=sink, cancel=cancel)
        return result

    async def python(self, code: str, *arguments: str, **options: object) -> SandboxResult:
        """A payload in Python, by the interpreter the sandbox sees."""
        return await self.run(argv=("/usr/bin/python3", "-I", "-c", code, *arguments), **options)  # type: ignore[arg-type]


def make_arena(root: Path, backend: str = "bubblewrap", **changes: object) -> Arena:
    """An arena in `root`, of a backend, or of one with a runtime (`oci:runc`).

    `changes` are to the Confinement. Raises as the backend does.
    """
    name, _, runtime = backend.partition(":")
    changes = {"oci_runtime": runtime, **changes}
    confinement = dataclasses.replace(Confinement.from_env(root / "sandbox"), **changes)  # type: ignore[arg-type]
    base = root / "base"
    base.mkdir()
    arena = Arena(BACKENDS[name](confinement), root, base)
    arena.write("kept.txt", "as it was\n")
    arena.write("dir/inner.txt", "inner\n")
    return arena
