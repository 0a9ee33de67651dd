"""Turns on a workspace: any number of forks may run at once, a publication has it alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from interlock.common.errors import InterlockError, Reason


class _Turns:
    def __init__(self) -> None:
        self.condition = asyncio.Condition()
        self.running = 0
        self.publishing = False
        self.waiting = 0


class WorkspaceTurns:
    """Publications go first: while one waits, no fork is started, so that a stream of steps cannot starve it.

    Args:
        patience: seconds a publication waits for running forks, and a fork for publications.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._all: dict[str, _Turns] = {}

    @asynccontextmanager
    async def fork(self, workspace: str) -> AsyncIterator[None]:
        """While a fork is running. Waits for publications however long they take."""
        turns = self._all.setdefault(workspace, _Turns())
        async with turns.condition:
            await turns.condition.wait_for(lambda: not turns.publishing and not turns.waiting)
            turns.running += 1
        try:
            yield
        finally:
            async with turns.condition:
                turns.running -= 1
                turns.condition.notify_all()

    @asynccontextmanager
    async def publish(self, workspace: str) -> AsyncIterator[None]:
        """While nothing else happens to the workspace. Raises WORKSPACE_BUSY when forks run on for too long."""
        turns = self._all.setdefault(workspace, _Turns())
        async with turns.condition:
            turns.waiting += 1
            try:
                async with asyncio.timeout(self._patience):
                    await turns.condition.wait_for(lambda: not turns.publishing and not turns.running)
            except TimeoutError:
                turns.condition.notify_all()
                raise InterlockError(
                    Reason.WORKSPACE_BUSY,
                    f"Commands have been running in workspace {workspace} for {self._patience:.0f} s.",
                    fix="Wait for the steps that run in it, or cancel them.",
                ) from None
            finally:
                turns.waiting -= 1
            turns.publishing = True
        try:
            yield
        finally:
            async with turns.condition:
                turns.publishing = False
                turns.condition.notify_all()
