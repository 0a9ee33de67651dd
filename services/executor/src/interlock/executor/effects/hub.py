"""Live output of the steps under way, for any number of readers. Memory is bounded: per stream a head and a window.

A reader that connects late gets the head, then what the window still has: offsets show what is missing. A reader
that falls behind the window while it is connected is refused; it may come back with its offsets.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from interlock.common.clock import Clock
from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.model import EffectKey

HEAD_BYTES: Final = 512 * 1024
WINDOW_BYTES: Final = 1024 * 1024
PIECE_BYTES: Final = 64 * 1024
STREAMS: Final = ("stdout", "stderr")


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a stream from an offset, and when they were read."""

    stream: str
    offset: int
    data: bytes
    at: datetime


class _Window:
    """One stream: its first bytes, and its latest."""

    def __init__(self) -> None:
        self.head = bytearray()
        self._latest = bytearray()
        self._start = 0
        self.total = 0

    def add(self, data: bytes) -> None:
        room = HEAD_BYTES - len(self.head)
        if room > 0:
            self.head += data[:room]
        self._latest += data
        self.total += len(data)
        if len(self._latest) > 2 * WINDOW_BYTES:
            cut = len(self._latest) - WINDOW_BYTES
            del self._latest[:cut]
            self._start += cut

    def available(self, offset: int) -> int:
        """The first offset at or after `offset` that is still here."""
        return offset if offset < len(self.head) or offset >= self._start else self._start

    def take(self, offset: int) -> bytes:
        """At most one piece from an offset that is available."""
        if offset < len(self.head):
            return bytes(self.head[offset : offset + PIECE_BYTES])
        begin = offset - self._start
        return bytes(self._latest[begin : begin + PIECE_BYTES])


class Log:
    """The output of one step; the sandbox's sink."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows = {stream: _Window() for stream in STREAMS}
        self._changed = asyncio.Event()
        self._ended = False

    async def chunk(self, stream: str, offset: int, data: bytes) -> None:
        """Take live output. Never waits: readers do."""
        window = self._windows[stream]
        if offset == window.total:
            window.add(data)
        self._wake()

    def end(self) -> None:
        """No more will come."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        # Whoever waits holds the old event; a new one is for the next change.
        self._changed.set()
        self._changed = asyncio.Event()

    async def read(self, offsets: dict[str, int], heartbeat: float) -> AsyncIterator[Piece | None]:
        """Pieces from the given offsets to the end; None after `heartbeat` seconds of silence.

        Raises RESOURCE_EXHAUSTED when the reader has fallen behind what is kept.
        """
        at = {stream: self._windows[stream].available(offsets.get(stream, 0)) for stream in STREAMS}
        joined = {stream: self._windows[stream].total for stream in STREAMS}
        while True:
            changed, ended = self._changed, self._ended
            found = False
            for stream in STREAMS:
                while (piece := self._next(stream, at, joined)) is not None:
                    found = True
                    yield piece
            if ended and not found:
                return
            if not found and not await _within(changed, heartbeat):
                yield None

    def _next(self, stream: str, at: dict[str, int], joined: dict[str, int]) -> Piece | None:
        window = self._windows[stream]
        offset = window.available(at[stream])
        if offset > at[stream] and at[stream] > joined[stream]:
            raise InterlockError(
                Reason.RESOURCE_EXHAUSTED,
                "This reader is slower than the step's output.",
                fix="Come back with the offsets reached; what was not kept is skipped.",
                metadata={"stream": stream, "offset": str(at[stream])},
            )
        data = window.take(offset)
        at[stream] = offset + len(data)
        return Piece(stream, offset, data, self._clock.now()) if data else None


class Hub:
    """The logs of the steps under way, by key."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._logs: dict[EffectKey, Log] = {}

    def open(self, key: EffectKey) -> Log:
        """A fresh log for a step that begins."""
        log = self._logs[key] = Log(self._clock)
        return log

    def get(self, key: EffectKey) -> Log | None:
        """The log of a step under way."""
        return self._logs.get(key)

    def close(self, key: EffectKey) -> None:
        """The step's record has its output from now on; readers connected drain the log to its end."""
        log = self._logs.pop(key, None)
        if log is not None:
            log.end()


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
