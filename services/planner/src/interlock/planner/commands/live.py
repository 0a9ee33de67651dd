"""Replies while they come: what a model has said so far of a question, for whoever watches its step.

In memory and for the time of the question only. Nothing depends on it: the whole reply is the question's answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from interlock.common.clock import Clock
from interlock.common.errors import InterlockError, Reason
from interlock.planner.domain.model import ReplyKey

MAX_BYTES = 256 * 1024
"""Most that is kept of one question's replies; what is beyond is not told."""

MAX_READERS = 256
PIECE_BYTES = 64 * 1024
PIECES_APART_S = 0.1
"""Between two pieces for one reader: words that came meanwhile are one piece."""

PATIENCE_S = 2.0
"""How long a reader waits for a question to be put."""

_AGAIN = "\n[the model is asked again]\n"


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a reply, UTF-8 and cut anywhere; ``offset`` counts from the question's first byte."""

    offset: int
    data: bytes
    at: datetime


class _Bell:
    """Wakes all that wait for the next ring."""

    def __init__(self) -> None:
        self.next = asyncio.Event()

    def ring(self) -> None:
        rung, self.next = self.next, asyncio.Event()
        rung.set()


class LiveReply:
    """The replies to one question so far."""

    def __init__(self) -> None:
        self.said = bytearray()
        self.ended = False
        self.bell = _Bell()

    def begin(self) -> None:
        """The model is asked; not for the first time where something was said."""
        if self.said:
            self.add(_AGAIN)

    def add(self, text: str) -> None:
        """It said more."""
        self.said += text.encode("utf-8", "replace")[: MAX_BYTES - len(self.said)]
        self.bell.ring()

    def end(self) -> None:
        """The question has its answer, or none."""
        self.ended = True
        self.bell.ring()


class LiveReplies:
    """The questions that are being answered, by their keys. Of one loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[ReplyKey, LiveReply] = {}
        self._opened = _Bell()
        self._readers = 0

    @contextmanager
    def open(self, key: ReplyKey | None) -> Iterator[LiveReply | None]:
        """A question for the time of the block; without a key nobody reads it. The last one with a key counts."""
        if key is None:
            yield None
            return
        reply = self._open[key] = LiveReply()
        self._opened.ring()
        try:
            yield reply
        finally:
            reply.end()
            if self._open.get(key) is reply:
                del self._open[key]

    async def follow(self, key: ReplyKey, offset: int) -> AsyncGenerator[Piece]:
        """What is said from ``offset`` on, until the question ends. Raises RESOURCE_EXHAUSTED."""
        if self._readers >= MAX_READERS:
            raise InterlockError(
                Reason.RESOURCE_EXHAUSTED, f"{MAX_READERS} readers of replies are here already."
            )
        self._readers += 1
        try:
            reply = await self._find(key)
            while reply is not None:
                news, ended = reply.bell.next, reply.ended
                while data := bytes(reply.said[offset : offset + PIECE_BYTES]):
                    yield Piece(offset, data, self._clock.now())
                    offset += len(data)
                if ended:
                    return
                await news.wait()
                if not reply.ended:
                    await asyncio.sleep(PIECES_APART_S)
        finally:
            self._readers -= 1

    async def _find(self, key: ReplyKey) -> LiveReply | None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (found := self._open.get(key)) is None:
                    await self._opened.next.wait()
                return found
        except TimeoutError:
            return None
