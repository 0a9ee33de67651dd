"""Follows the orchestrator's feed into the hub, for ever: reconnects with back-off, resumes at its cursor."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from interlock.approval.hub import Hub
from interlock.approval.ports import Orchestrator
from interlock.common import logs
from interlock.common.errors import InterlockError, Reason

_log = logs.get("feed")


class Feed:
    """The one reader of the orchestrator's feed in this process.

    Args:
        hub: what the feed is applied to.
        orchestrator: where it comes from.
        on_ready: told true when the feed is followed and false when it is lost.
        silence_seconds: a feed without any message, heartbeats included, for this long is taken for lost.
        first_delay: seconds before the first reconnection; doubles up to `longest_delay`, with jitter.
        longest_delay: most seconds between reconnections.
        jitter: a number from 0 to 1, so that many services do not come back to an orchestrator in step.
    """

    def __init__(
        self,
        hub: Hub,
        orchestrator: Orchestrator,
        on_ready: Callable[[bool], Awaitable[None]],
        *,
        silence_seconds: float = 30.0,
        first_delay: float = 0.1,
        longest_delay: float = 1.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._hub = hub
        self._orchestrator = orchestrator
        self._on_ready = on_ready
        self._silence = silence_seconds
        self._first_delay = first_delay
        self._longest_delay = longest_delay
        self._delay = first_delay
        self._jitter = jitter
        self._is_ready = False

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                await self._follow()
                _log.warning("feed ended by the orchestrator")
            except InterlockError as error:
                self._lost(error)
            except TimeoutError:
                _log.warning("feed silent", seconds=self._silence)
            finally:
                await self._ready(False)
            await asyncio.sleep(self._delay * (0.5 + self._jitter() / 2))
            self._delay = min(self._delay * 2, self._longest_delay)

    async def _follow(self) -> None:
        if not self._hub.upstream:
            self._hub.restart()  # what an interrupted snapshot left would not be corrected by the next one
            await self._read(until_caught_up=True)
        # The snapshot's own stream may leave out what the snapshot already held. A second one, from the cursor
        # between them, has everything: subscribers that never saw this snapshot need it.
        if self._hub.upstream:
            await self._read(until_caught_up=False)

    async def _read(self, *, until_caught_up: bool) -> None:
        async with aclosing(self._orchestrator.watch(self._hub.upstream)) as batches:
            while True:
                async with asyncio.timeout(self._silence):
                    batch = await anext(batches, _END)
                if isinstance(batch, _End):
                    return
                if batch is not None:
                    self._hub.apply(batch)
                if not until_caught_up:
                    await self._ready(True)
                elif self._hub.upstream:
                    return

    async def _ready(self, ready: bool) -> None:
        if ready:
            self._delay = self._first_delay
        self._hub.set_ready(ready)
        if ready != self._is_ready:
            self._is_ready = ready
            _log.info("feed followed" if ready else "feed not followed")
            await self._on_ready(ready)

    def _lost(self, error: InterlockError) -> None:
        # Said once: while the orchestrator is away every attempt fails in the same way.
        say = _log.warning if self._delay == self._first_delay else _log.debug
        say("feed lost", reason=error.reason.value, error=str(error))
        if error.reason in (Reason.CURSOR_EXPIRED, Reason.CURSOR_INVALID):
            self._hub.restart()


class _End:
    """Stands for the end of the feed."""


_END = _End()
