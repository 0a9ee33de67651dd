"""Sends what is due, a few at once, of each run at an endpoint one after the other."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from interlock.common import logs
from interlock.common.clock import Clock
from interlock.common.errors import InterlockError
from interlock.orchestrator.store import webhooks
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.webhooks import Due
from interlock.orchestrator.webhooks import signing
from interlock.orchestrator.webhooks.sealing import Unsealable
from interlock.orchestrator.webhooks.sender import Failed, Sender
from interlock.orchestrator.webhooks.settings import WebhookSettings

_log = logs.get("webhooks")
_TIDY: Final = 3600.0


class Deliverer:
    """Call `wake` when something may be due."""

    def __init__(self, database: Database, sender: Sender, settings: WebhookSettings, clock: Clock) -> None:
        self._database = database
        self._sender = sender
        self._settings = settings
        self._clock = clock
        self._wake = asyncio.Event()
        self._busy: dict[str, str] = {}
        self._tidied = float("-inf")

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    async def run(self) -> None:
        """For ever; cancelling it cancels the tries under way, which count as not made. Raises DATABASE_UNAVAILABLE."""
        async with asyncio.TaskGroup() as tries:
            while True:
                self._wake.clear()
                for each in await self._next():
                    self._busy[each.id] = each.webhook_id
                    tries.create_task(self._try(each))
                await self._tidy()
                try:
                    async with asyncio.timeout(self._settings.poll):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    async def _next(self) -> list[Due]:
        free = self._settings.at_once - len(self._busy)
        if free <= 0:
            return []
        found = await webhooks.due(self._database, list(self._busy), self._settings.per_endpoint)
        under_way = Counter(self._busy.values())
        chosen: list[Due] = []
        for each in found:
            if len(chosen) < free and under_way[each.webhook_id] < self._settings.per_endpoint:
                under_way[each.webhook_id] += 1
                chosen.append(each)
        return chosen

    async def _try(self, due: Due) -> None:
        try:
            status, error = await self._post(due)
            if 200 <= status < 300:
                await webhooks.settle(self._database, due.id, "delivered", status=status, error="")
            else:
                await self._failed(due, status, error)
        finally:
            del self._busy[due.id]
            self._wake.set()

    async def _post(self, due: Due) -> tuple[int, str]:
        seconds = int(self._clock.now().timestamp())
        try:
            key = self._settings.ring.open(due.secret, due.sealed_with, due.webhook_id)
            headers = signing.headers(key, due.id, seconds, due.body)
            status = await self._sender.post(due.url, headers, due.body)
        except (Failed, Unsealable) as failure:
            return 0, str(failure)
        except InterlockError as error:  # a URL that an earlier release took
            return 0, str(error)
        redirect = "; redirects are not followed" if 300 <= status < 400 else ""
        return status, f"status {status}{redirect}"

    async def _failed(self, due: Due, status: int, error: str) -> None:
        tried = due.attempts + 1
        state = "pending" if tried < self._settings.attempts else "dead"
        delay = self._settings.delay(tried)
        await webhooks.settle(self._database, due.id, state, status=status, error=error[:500], delay=delay)
        say = _log.info if state == "pending" else _log.warning
        say(
            "webhook not delivered",
            webhook=due.webhook_id,
            delivery=due.id,
            tried=tried,
            error=error,
            state=state,
        )

    async def _tidy(self) -> None:
        now = self._clock.monotonic()
        if now - self._tidied >= _TIDY:
            self._tidied = now
            await webhooks.forget_old(self._database)
