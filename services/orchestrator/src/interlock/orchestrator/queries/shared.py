"""The newest events of approvals, each put together once for everyone who follows them.

Many followers at the same place, as after a restart of what they are connected to, would otherwise each ask the
database for the same approvals.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Final

from interlock.v1 import decision_pb2

Event = decision_pb2.ApprovalEvent | None

_KEPT_BYTES: Final = 64 * 1024
"""What is larger is not kept: its preview is, and few want it again."""


class SharedEvents:
    """Events by their position, at most `most` of them. Whoever gets one must not change it."""

    def __init__(self, most: int = 512) -> None:
        self._most = most
        self._making: OrderedDict[int, asyncio.Task[Event]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._making)

    def clear(self) -> None:
        """Forget them all: what they tell may have been erased."""
        self._making.clear()

    async def get(self, position: int, make: Callable[[], Coroutine[Any, Any, Event]]) -> Event:
        """The event at a position; made unless it is there or being made. Raises what `make` raises."""
        task = self._making.get(position)
        if task is None:
            task = self._making[position] = asyncio.create_task(make())
            task.add_done_callback(lambda done: self._made(position, done))
            while len(self._making) > self._most:
                self._making.popitem(last=False)
        return await asyncio.shield(task)  # who goes away does not take it from the others

    def _made(self, position: int, task: asyncio.Task[Event]) -> None:
        failed = task.cancelled() or task.exception() is not None
        event = None if failed else task.result()
        unkept = event is None or event.ByteSize() > _KEPT_BYTES
        if unkept and self._making.get(position) is task:
            del self._making[position]
