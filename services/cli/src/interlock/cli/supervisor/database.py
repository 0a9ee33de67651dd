"""The database of a supervisor: an embedded PostgreSQL unless INTERLOCK_DATABASE_URL names one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module

from interlock.common.config import env_text
from interlock.common.errors import InterlockError
from interlock.common.postgres import EmbeddedPostgres, postgres_dir

_WATCH_SECONDS = 1.0
_MIGRATE = "interlock.orchestrator.store.migrate"


class Database:
    """Started before the orchestrator, watched, stopped after it. `url` is known before it is started."""

    def __init__(self, env: Mapping[str, str], report: Callable[[str], None]) -> None:
        self.url = env_text("INTERLOCK_DATABASE_URL", env=env)
        self._report = report
        self._server: EmbeddedPostgres | None = None
        if not self.url:
            with environment(env):
                self._server = EmbeddedPostgres(postgres_dir())
            self.url = self._server.url

    @property
    def embedded(self) -> bool:
        """Whether the server belongs to this supervisor."""
        return self._server is not None

    async def start(self) -> None:
        """Start the embedded server where there is one, and upgrade the schema."""
        if self._server is not None:
            # What the upgrade needs is imported while the server starts.
            self.url, _ = await asyncio.gather(
                asyncio.to_thread(self._server.start), asyncio.to_thread(import_module, _MIGRATE)
            )
        await asyncio.to_thread(upgrade, self.url)

    async def watch(self) -> None:
        """Start the embedded server again whenever it has died. Runs until it is cancelled."""
        while self._server is not None:
            await asyncio.sleep(_WATCH_SECONDS)
            if self._server.pid is not None:
                continue
            self._report("PostgreSQL ended; starting it again")
            try:
                await asyncio.to_thread(self._server.start)
            except InterlockError as error:
                self._report(f"PostgreSQL: {error.message}")

    async def stop(self) -> None:
        """Stop the embedded server, unless another process uses it."""
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)


def upgrade(url: str) -> str:
    """Bring the schema up to this release; returns the revision. Raises DATABASE_UNAVAILABLE and others."""
    from interlock.orchestrator.store.migrate import upgrade as apply

    return str(apply(url))


@contextmanager
def environment(env: Mapping[str, str]) -> Iterator[None]:
    """The process's environment replaced for the block, for helpers that read it themselves."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
