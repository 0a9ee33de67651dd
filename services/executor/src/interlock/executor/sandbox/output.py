"""Reading a step's stdout and stderr: everything is hashed and counted, a head and a tail are kept, a sink listens.

A slow sink slows the step down (its pipe is not read) for at most `PATIENCE` seconds in all; after that the sink
loses bytes, the step does not wait, and digests and totals stay exact.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
from collections import deque
from typing import Final

from interlock.executor.sandbox.base import MIB, Filter, OutputSink, StreamOutput

_PIPE_BYTES: Final = 1 * MIB
_READ_BYTES: Final = 256 * 1024
_QUEUE_HIGH: Final = 4 * MIB
_QUEUE_LOW: Final = 1 * MIB
_F_SETPIPE_SZ: Final = 1031

PATIENCE: Final = 5.0
"""Seconds a step may be held up by its sink, in all."""

_log = logging.getLogger(__name__)


class Capture:
    """Digest, total, head and tail of one stream; memory is bounded by about 1.5 times `keep` bytes."""

    def __init__(self, keep: int) -> None:
        self._hash = hashlib.sha256()
        self._head = bytearray()
        self._tail = bytearray()
        self._tail_size = keep // 2
        self._head_size = keep - self._tail_size
        self.total = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self._hash.update(data)
        self.total += len(data)
        room = self._head_size - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._keep_tail(data)

    def _keep_tail(self, data: bytes) -> None:
        self._tail += data[-self._tail_size :] if self._tail_size else b""
        # Trimmed only when twice too long: a move of memory per chunk would cost more than the hash.
        if len(self._tail) > 2 * self._tail_size:
            del self._tail[: -self._tail_size or None]

    def result(self) -> StreamOutput:
        """What is known now."""
        tail = bytes(self._tail[-self._tail_size :]) if self._tail_size else b""
        return StreamOutput("sha256:" + self._hash.hexdigest(), self.total, bytes(self._head), tail)


class Delivery:
    """A bounded queue between the pipes and one sink. `paused` tells the pumps to stop reading."""

    def __init__(self, sink: OutputSink, patience: float = PATIENCE) -> None:
        self._sink = sink
        self._patience = patience
        self._queue: deque[tuple[str, int, bytes]] = deque()
        self._size = 0
        self._wake = asyncio.Event()
        self._closed = False
        self._paused_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._deliver())
        self.pumps: list[Pump] = []
        self.dropped = 0

    def offer(self, stream: str, offset: int, data: bytes) -> None:
        """Queue a chunk; drop it when the sink is too far behind and the patience is used up."""
        if self._task.done() or (self._size >= _QUEUE_HIGH and self._patience <= 0):
            self.dropped += len(data)
            return
        self._queue.append((stream, offset, data))
        self._size += len(data)
        self._wake.set()
        if self._size >= _QUEUE_HIGH and self._paused_at is None and self._patience > 0:
            self._pause()

    def _pause(self) -> None:
        self._paused_at = self._loop.time()
        for pump in self.pumps:
            pump.pause()
        self._timer = self._loop.call_later(self._patience, self.resume)

    def resume(self) -> None:
        """Read again, and take what the pause cost off the patience."""
        if self._paused_at is None:
            return
        self._patience -= self._loop.time() - self._paused_at
        self._paused_at = None
        if self._timer is not None:
            self._timer.cancel()
        for pump in self.pumps:
            pump.resume()

    async def _deliver(self) -> None:
        while True:
            while self._queue:
                stream, offset, data = self._queue.popleft()
                await self._sink.chunk(stream, offset, data)
                self._size -= len(data)
                if self._size <= _QUEUE_LOW:
                    self.resume()
            if self._closed:
                return
            self._wake.clear()
            await self._wake.wait()

    async def finish(self) -> int:
        """Let the sink have what is queued, within the patience. Returns the bytes it did not get."""
        self.resume()
        self._closed = True
        self._wake.set()
        await asyncio.wait([self._task], timeout=max(self._patience, 0.1))
        await self.abandon()
        self.dropped += sum(len(data) for _, _, data in self._queue)
        return self.dropped

    async def abandon(self) -> None:
        """Stop delivering at once."""
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            _log.warning("the sink of a step's output failed; its live output is incomplete", exc_info=error)


class Pump:
    """Reads one pipe to its end on the event loop. Owns `fd`. `read` counts bytes as the step wrote them."""

    def __init__(
        self, stream: str, fd: int, keep: int, delivery: Delivery | None, filtered: Filter | None = None
    ) -> None:
        self.capture = Capture(keep)
        self.read = 0
        self._filter = filtered
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stream, self._fd, self._delivery = stream, fd, delivery
        os.set_blocking(fd, False)
        _grow(fd)
        self.resume()

    def pause(self) -> None:
        """Stop reading; the step blocks once the pipe is full."""
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)

    def resume(self) -> None:
        """Read again."""
        if self._fd >= 0:
            asyncio.get_running_loop().add_reader(self._fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self.close()
            return
        self.read += len(data)
        self._take(data if self._filter is None else self._filter.feed(data))

    def _take(self, data: bytes) -> None:
        if not data:
            return
        offset = self.capture.total
        self.capture.feed(data)
        if self._delivery is not None:
            self._delivery.offer(self._stream, offset, data)

    def close(self) -> None:
        """Stop for good and close the pipe; idempotent."""
        if self._fd < 0:
            return
        self.pause()
        os.close(self._fd)
        self._fd = -1
        if self._filter is not None:
            self._take(self._filter.finish())
        if not self.ended.done():
            self.ended.set_result(None)


def _grow(fd: int) -> None:
    # Fewer wake-ups for loud steps. Unprivileged users have a quota of pipe memory: a refusal is no failure.
    try:
        fcntl.fcntl(fd, _F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        return
