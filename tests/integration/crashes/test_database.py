"""The database itself: its postmaster is killed at every durable write, and its disk is full for a while."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support.cluster import Zygote, cluster
from tests.support.crash_story import model, model_env, tell

from interlock.common.errors import InterlockError
from interlock.common.postgres import EmbeddedPostgres
from interlock.orchestrator.store import migrate

pytestmark = [pytest.mark.torture, pytest.mark.timeout(300)]
FLUSH = "interlock.orchestrator.store.link:Link.flush"


@asynccontextmanager
async def _kept(server: EmbeddedPostgres) -> AsyncIterator[None]:
    """Started again whenever it has died, as `interlock up` does it."""

    async def keep() -> None:
        while True:
            if server.pid is None:
                try:
                    await asyncio.to_thread(server.start)
                except InterlockError:
                    await asyncio.sleep(0.2)  # its last processes are still there
            await asyncio.sleep(0.02)

    task = asyncio.create_task(keep())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def server(place: Path) -> Iterator[EmbeddedPostgres]:
    """A server of this test's own, with the schema."""
    with EmbeddedPostgres(place / "pg") as started:
        migrate.upgrade(started.url)
        yield started


@pytest.mark.parametrize("mode", ["before", "sent", "after"])
@pytest.mark.parametrize("nth", [1, 2, 3, 5, 8])
async def test_its_postmaster_is_killed_at_a_durable_write(
    zygote: Zygote, place: Path, server: EmbeddedPostgres, nth: int, mode: str
) -> None:
    models = await model()
    try:
        async with _kept(server), cluster(zygote, place, server.url, **model_env(models)) as them:
            for name in ("executor", "planner", "approval"):
                await them.start(name)
            await them.start("orchestrator", fault=f"{FLUSH}|{mode}|{nth}|{server.pid}")
            await tell(them, place / "live")
            assert them.mark("orchestrator").exists()
            assert them.services["orchestrator"].starts == 1, "the orchestrator has lived through it"
    finally:
        await models.refuse()


@pytest.fixture
def small_disk(place: Path) -> Iterator[Path]:
    """A file system of 400 MiB."""
    disk = place / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400m,mode=755", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def _fill(path: Path) -> None:
    """Takes all the space that is left."""
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass


async def test_its_disk_is_full_for_a_while(zygote: Zygote, place: Path, small_disk: Path) -> None:
    """What cannot be written is not acknowledged; when there is room, everything goes on by itself."""
    models = await model()
    filler = small_disk / "filler"
    try:
        with EmbeddedPostgres(small_disk / "pg") as server:
            migrate.upgrade(server.url)
            async with _kept(server), cluster(zygote, place, server.url, **model_env(models)) as them:
                for name in ("executor", "planner", "approval", "orchestrator"):
                    await them.start(name)
                await asyncio.to_thread(_fill, filler)
                assert os.statvfs(small_disk).f_bavail == 0
                story = asyncio.create_task(tell(them, place / "live"))
                await asyncio.sleep(3)  # some of it goes into pages that are there
                said = "".join(log.read_text(errors="replace") for log in (small_disk / "pg").glob("*.log"))
                assert "No space left on device" in said, said[-2000:]
                filler.unlink()
                await story
    finally:
        await models.refuse()
