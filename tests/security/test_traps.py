"""The three ways out that were found in the runner, each closed; these tests gate a release."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.base import SandboxSpec
from interlock.executor.sandbox.identity import Identity
from interlock.executor.sandbox.launch import spawn
from interlock.executor.sandbox.rootfs import parse_mounts
from interlock.executor.sandbox.seccomp import program

Arena = Any


@pytest.fixture
def backend() -> str:
    """These are bubblewrap's."""
    return "bubblewrap"


@pytest.fixture
def arena(inner: Arena) -> Arena:
    """They look at the runner from outside, while it runs."""
    return inner


def own_descendants(but: Collection[int] = ()) -> list[int]:
    """Processes below this one, the runner's included; without those that other tests keep (`but`)."""
    found: list[int] = []
    queue = [os.getpid()]
    while queue:
        pid = queue.pop()
        try:
            tasks = os.listdir(f"/proc/{pid}/task")
            children = [
                int(child)
                for task in tasks
                for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()
            ]
        except OSError:
            continue
        found += children
        queue += children
    return [pid for pid in found if pid not in but]


class Begun:
    """Tells when the step has written its first byte."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    async def chunk(self, stream: str, offset: int, data: bytes) -> None:
        self.event.set()


async def test_one_the_runner_is_never_root(arena: Arena) -> None:
    for identity in (Identity(0, 0, switch=True), Identity(0, 0, switch=False), Identity(1, 0, switch=True)):
        with pytest.raises(InterlockError) as caught:
            spawn(arena.sandbox.binary, [], ["true"], program(), identity)
        assert caught.value.reason is Reason.SANDBOX_UNAVAILABLE
    others = set(own_descendants())
    begun, cancel = Begun(), asyncio.Event()
    running = asyncio.create_task(arena.run("echo begun; sleep 1000", sink=begun, cancel=cancel))
    await begun.event.wait()
    lines = [
        line
        for pid in own_descendants(but=others)
        for line in status(pid)
        if line.startswith(("Uid:", "Gid:", "Groups:"))
    ]
    cancel.set()
    await running
    numbers = {int(word) for line in lines for word in line.split()[1:]}
    assert len(lines) >= 9
    assert numbers == {arena.sandbox.identity.uid}


def status(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/status").read_text().splitlines()


@pytest.mark.parametrize(
    "file", ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/drop_caches"]
)
async def test_one_kernel_settings_are_out_of_reach(arena: Arena, file: str) -> None:
    result = await arena.python(f"open({file!r}, 'r+').write('|/workspace/evil')")
    assert result.exit_code == 1
    assert b"Error" in result.stderr.head


async def test_two_the_runner_has_no_environment_and_no_options_to_read(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTED", "planted-in-the-executor")
    others = set(own_descendants())
    begun, cancel = Begun(), asyncio.Event()
    running = asyncio.create_task(
        arena.run("echo begun; sleep 1000", env={"DECLARED": "declared-by-step"}, sink=begun, cancel=cancel)
    )
    await begun.event.wait()
    runner = own_descendants(but=others)[0]
    outside = (read(runner, "environ"), read(runner, "cmdline"))
    cancel.set()
    await running
    assert outside[0] == b""
    assert b"declared-by-step" not in outside[1]
    assert os.fsencode(arena.root / "base") not in outside[1]
    inside = await arena.run("cat /proc/1/environ /proc/1/cmdline; grep -az planted /proc/[0-9]*/environ")
    assert b"planted-in-the-executor" not in inside.stdout.head
    assert os.fsencode(arena.root) not in inside.stdout.head


def read(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


async def test_three_no_mount_target_is_below_the_workspace(arena: Arena, open_dir: Path) -> None:
    for target in ("/workspace", "/workspace/x", "/workspace/../workspace/x", "//workspace/x"):
        with pytest.raises(InterlockError):
            parse_mounts([f"{open_dir}:{target}"])
    options = arena.sandbox._options(SandboxSpec(command="true", fork=arena.fork()), {}, None)
    mounting = {
        "--ro-bind",
        "--bind",
        "--tmpfs",
        "--dir",
        "--symlink",
        "--overlay",
        "--proc",
        "--dev",
        "--file",
    }
    after = options[options.index("/workspace") + 1 :]
    assert not mounting & set(after)
    assert not [item for item in options if item.startswith("/workspace/") and item != "/workspace/"]


async def test_three_symlinks_in_the_place_of_mounts_make_nothing_on_the_host(
    arena: Arena, open_dir: Path
) -> None:
    outside = open_dir / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    for name in ("proc", "dev", "tmp", "etc", "usr"):
        (arena.base / name).symlink_to(outside)
    arena.give(arena.base)
    result = await arena.run("mkdir -p proc/x dev/x tmp/x; ls -la")
    assert result.stdout.total > 0
    assert os.listdir(outside) == []
