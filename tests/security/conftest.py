"""Runs payloads in the real sandbox, on a real overlay fork, as the executor would.

pytest's tmp_path is closed to other users; when the tests run as root, steps run as a uid of their own that must be
able to reach its directories. So these tests make their own below the system's temporary directory.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from interlock.executor.sandbox.base import (
    DEFAULT_LIMITS,
    Fork,
    Limits,
    OutputSink,
    SandboxResult,
    SandboxSpec,
)
from interlock.executor.sandbox.bubblewrap import BubblewrapSandbox
from interlock.executor.sandbox.confinement import Confinement


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A fresh directory that every user can traverse."""
    path = Path(tempfile.mkdtemp(prefix="interlock-security-"))
    path.chmod(0o755)
    yield path
    for directory, names, _ in os.walk(path):
        for name in names:
            with_rights = Path(directory, name)
            if not with_rights.is_symlink():
                with_rights.chmod(0o700)
    shutil.rmtree(path)


@dataclass
class Arena:
    """One sandbox, and a base tree that every payload gets a fresh fork of."""

    sandbox: BubblewrapSandbox
    root: Path
    base: Path
    last: Fork | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def fork(self) -> Fork:
        directory = self.root / f"fork{next(self.numbers)}"
        directory.mkdir()
        for name in ("up", "wk"):
            (directory / name).mkdir()
        self.give(directory)
        return Fork((self.base,), directory / "up", directory / "wk")

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
        return await self.sandbox.run(spec, sink=sink, cancel=cancel)

    async def python(self, code: str, *arguments: str, **options: object) -> SandboxResult:
        """A payload in Python, by the interpreter the sandbox sees."""
        return await self.run(argv=("/usr/bin/python3", "-I", "-c", code, *arguments), **options)  # type: ignore[arg-type]


def make_arena(root: Path, **changes: object) -> Arena:
    config = Confinement.from_env(root / "sandbox")
    base = root / "base"
    base.mkdir()
    arena = Arena(BubblewrapSandbox(dataclasses.replace(config, **changes)), root, base)  # type: ignore[arg-type]
    arena.write("kept.txt", "as it was\n")
    arena.write("dir/inner.txt", "inner\n")
    return arena


@pytest.fixture
def arena(open_dir: Path) -> Arena:
    return make_arena(open_dir)


@pytest.fixture(params=["cgroup", "watchdog"])
def limited(request: pytest.FixtureRequest, open_dir: Path) -> Arena:
    """The same with each way of enforcing limits that this machine has."""
    arena = make_arena(open_dir, use_cgroups=request.param == "cgroup")
    if request.param == "cgroup" and not arena.sandbox.tier.enforcement.startswith("cgroup"):
        pytest.skip("no control group can be made here")
    return arena
