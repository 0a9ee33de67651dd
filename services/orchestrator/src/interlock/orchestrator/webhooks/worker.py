"""The webhooks of a database: made and sent by one of its orchestrators at a time."""

from __future__ import annotations

import asyncio

from interlock.common import logs
from interlock.common.errors import InterlockError
from interlock.common.tasks import stop
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.store import webhooks
from interlock.orchestrator.store.sole import while_alone
from interlock.orchestrator.webhooks.deliverer import Deliverer
from interlock.orchestrator.webhooks.outbox import Outbox
from interlock.orchestrator.webhooks.sealing import Unsealable
from interlock.orchestrator.webhooks.sender import Sender

_log = logs.get("webhooks")
_NAME = "interlock webhooks"


class WebhookWorker:
    """Start it when everything else runs. It reads the feed's window and writes nothing that the journal waits for."""

    def __init__(self, deps: Deps) -> None:
        self._deps, self._settings = deps, deps.webhooks
        self._changed = asyncio.Event()
        settings = deps.webhooks
        sender = Sender(settings.allow, settings.timeout, settings.trust)
        self._deliverer = Deliverer(deps.database, sender, settings, deps.clock)
        self._outbox = Outbox(deps, self._changed, self._deliverer.wake, settings.poll)
        self._task: asyncio.Task[None] | None = None
        deps.bell.listen(self._ring)

    def start(self) -> None:
        """Begin; another orchestrator may be at it already, then this one waits until it ends."""
        self._task = asyncio.create_task(self._run(), name="webhooks")

    async def close(self) -> None:
        """Tries under way are cut off; they are made again, by whoever is next."""
        await stop(self._task)

    def _ring(self) -> None:
        self._changed.set()
        self._deliverer.wake()

    async def _run(self) -> None:
        while True:
            try:
                await while_alone(self._deps.database, _NAME, self._work)
            except InterlockError as error:
                _log.warning("webhooks wait for the database", reason=error.reason.value)
            except ExceptionGroup as group:
                _others(group)
            await asyncio.sleep(self._settings.poll)

    async def _work(self) -> None:
        await self._seal()
        async with asyncio.TaskGroup() as both:
            both.create_task(self._outbox.run())
            both.create_task(self._deliverer.run())

    async def _seal(self) -> None:
        """Encrypts with the newest key what is in clear or has an older one."""
        ring = self._settings.ring
        for row in await webhooks.endpoints(self._deps.database):
            if row.sealed_with == ring.newest:
                continue
            try:
                secret = ring.open(row.secret, row.sealed_with, row.id)
                await webhooks.reseal(self._deps.database, row, *ring.seal(secret, row.id))
            except (Unsealable, InterlockError) as error:
                _log.warning("a webhook's secret stays as it is", webhook=row.id, why=str(error))


def _others(group: ExceptionGroup[Exception]) -> None:
    """Raises what is no failure of the database: that is a defect, and ends in the log with its cause."""
    known, others = group.split(InterlockError)
    if known is not None:
        _log.warning("webhooks wait for the database")
    if others is not None:
        _log.error("webhooks failed", exc_info=others)
