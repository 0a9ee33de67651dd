"""Streams that resume by themselves from their cursors, without gap or duplicate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol, TypeVar

from interlock.client.retry import Delays, may_repeat
from interlock.common.errors import InterlockError, Reason
from interlock.v1.orchestrator_pb2 import WatchRunResponse
from interlock.v1.run_pb2 import RunState
from interlock.v1.step_pb2 import OutputChunk

FINAL_RUN_STATES = frozenset(
    {RunState.RUN_STATE_COMPLETED, RunState.RUN_STATE_FAILED, RunState.RUN_STATE_CANCELLED}
)


class HasCursor(Protocol):
    """A message of a resumable stream."""

    @property
    def cursor(self) -> str:
        """Opaque position after this message."""
        ...


MessageT = TypeVar("MessageT", bound=HasCursor)


async def resuming(
    open_at: Callable[[str], AsyncIterator[MessageT]], cursor: str, begin: Callable[[], Delays]
) -> AsyncIterator[MessageT]:
    """The messages of a stream, reopened at the last cursor when it breaks. Ends when the server ends it.

    The tries, whose waits `begin` makes, count anew after every message. A reader that was too slow
    (RESOURCE_EXHAUSTED) goes on where it was, and one whose cursor had expired (CURSOR_EXPIRED) after the snapshot that
    it was given instead, if it was given one. Raises the last InterlockError when the tries are used up, and any
    other one at once.
    """
    delays = begin()
    while True:
        try:
            async for message in open_at(cursor):
                cursor = message.cursor or cursor
                delays = begin()
                yield message
            return
        except InterlockError as error:
            delay = delays.after(error) if _resumable(error) else None
            if delay is None:
                raise
        await asyncio.sleep(delay)


def _resumable(error: InterlockError) -> bool:
    if error.reason is Reason.CURSOR_EXPIRED:
        return "cursor" in error.metadata
    return may_repeat(error) or error.reason is Reason.RESOURCE_EXHAUSTED


class OutputFilter:
    """Drops what was seen of live output: after a reconnection it is sent from its beginning again."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int, int], int] = {}

    def fresh(self, message: WatchRunResponse) -> bool:
        """Whether the message has something new; a partly known chunk is cut in place."""
        if message.WhichOneof("update") != "output":
            return True
        chunk = message.output
        key = (chunk.step, chunk.attempt, chunk.stream)
        known = self._seen.get(key, 0)
        end = chunk.offset + len(chunk.data)
        if end <= known:
            return False
        cut_front(chunk, known)
        self._seen[key] = end
        return True


def cut_front(chunk: OutputChunk, known: int) -> None:
    """Drop the bytes of a chunk that lie before position `known` of its stream."""
    if chunk.offset < known:
        chunk.data = chunk.data[known - chunk.offset :]
        chunk.offset = known
