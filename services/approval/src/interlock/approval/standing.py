"""Keeps up with who lets whom decide for them, while anybody listens for what they may approve."""

from __future__ import annotations

import asyncio

from interlock.approval.hub import Hub
from interlock.approval.ports import Orchestrator
from interlock.common import logs
from interlock.common.errors import InterlockError

_log = logs.get("standing")


class Standing:
    """Asks the orchestrator for the delegations that are in force, again and again, and tells the hub.

    Delegations are rare and end by time too, so they are asked for, and not followed: one question for all subscribers.

    Args:
        hub: what is told.
        orchestrator: who is asked.
        seconds: between two questions.
    """

    def __init__(self, hub: Hub, orchestrator: Orchestrator, *, seconds: float) -> None:
        self._hub = hub
        self._orchestrator = orchestrator
        self._seconds = seconds

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await asyncio.sleep(self._seconds)
            if self._hub.approvers:
                await self._ask()

    async def _ask(self) -> None:
        try:
            self._hub.stand(await self._orchestrator.all_places())
        except InterlockError as error:
            # What was known stays: the feed says that the orchestrator is away.
            _log.debug("delegations not known", reason=error.reason.value, error=str(error))
