"""The session: many calls on one stream, answered in any order, many to a frame.

Batching is natural: a frame carries whatever was answered while the one before was being sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from google.rpc import status_pb2

from interlock.common import logs
from interlock.common.errors import InterlockError, Reason
from interlock.common.status import to_status
from interlock.common.telemetry import span
from interlock.v1 import executor_pb2 as pb

_UNDER_WAY: Final = 1000
_PER_FRAME: Final = 1000
_FRAME_BYTES: Final = 8 << 20
_WAITING_BYTES: Final = 64 << 20
_log = logs.get("executor.session")


async def run_session(
    service: Any, requests: AsyncIterator[pb.SessionRequest], heartbeat: float, draining: asyncio.Event
) -> AsyncIterator[pb.SessionResponse]:
    """Frames of answers until the caller has ended its side, or the service drains, and everything is answered.

    At most 1,000 calls are under way, and 64 MiB of answers wait; more are not read before some are taken. When the
    caller goes away, steps under way go on: their results are recorded, and a repeated call gets them.
    """
    session = _Session(service)
    reader = asyncio.create_task(session.read(requests))
    reader.add_done_callback(lambda _: session.news.set())
    end = asyncio.create_task(_stop_reading(reader, draining))
    try:
        while not (reader.done() and session.idle):
            frame = await session.frame(heartbeat)
            if frame is not None:
                yield frame
        if not draining.is_set():
            reader.result()
    finally:
        end.cancel()
        reader.cancel()
        session.leave()


async def _stop_reading(reader: asyncio.Task[None], draining: asyncio.Event) -> None:
    """Calls that were not read are lost to the caller, who repeats them on its next session."""
    await draining.wait()
    reader.cancel()


class _Session:
    def __init__(self, service: Any) -> None:
        self._calls: dict[str, Callable[..., Awaitable[Any]]] = {
            "propose": service.Propose,
            "prepare": service.Prepare,
            "apply": service.Apply,
            "discard": service.Discard,
        }
        self._answers: deque[pb.SessionResult] = deque()
        self.news = asyncio.Event()
        self._room = asyncio.Semaphore(_UNDER_WAY)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ids: set[int] = set()
        self._bytes = 0
        self._taken, self._turn = asyncio.Event(), asyncio.Lock()

    @property
    def idle(self) -> bool:
        """Nothing is under way and everything was taken."""
        return not self._tasks and not self._answers

    async def read(self, requests: AsyncIterator[pb.SessionRequest]) -> None:
        """Start the calls of every frame."""
        async for request in requests:
            for item in request.items:
                await self._room.acquire()
                if item.id in self._ids:
                    self._room.release()
                    raise InterlockError(
                        Reason.INVALID_ARGUMENT, f"Call {item.id} is under way already.", field="items.id"
                    )
                self._ids.add(item.id)
                task = asyncio.create_task(self._answer(item))
                self._tasks.add(task)
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.news.set()  # it may have been the last one

    async def _answer(self, item: pb.SessionItem) -> None:
        result = await self._result(item)
        if not self._fits(result):
            del result  # it is on record: asked for again when there is room
            async with self._turn:
                result = await self._result(item)
                while not self._fits(result):
                    self._taken.clear()
                    await self._taken.wait()
        self._bytes += result.ByteSize()
        self._answers.append(result)
        self.news.set()

    def _fits(self, result: pb.SessionResult) -> bool:
        return self._bytes == 0 or self._bytes + result.ByteSize() <= _WAITING_BYTES

    async def _result(self, item: pb.SessionItem) -> pb.SessionResult:
        result = pb.SessionResult(id=item.id)
        name = item.WhichOneof("call") or ""
        try:
            with span("executor.session", traceparent=item.traceparent or None):
                answer = await self._calls[name](getattr(item, name), None)
            getattr(result, name).CopyFrom(answer)
        except InterlockError as error:
            result.error.CopyFrom(to_status(error))
        except Exception:  # noqa: BLE001 - one call's defect must not end the others' stream
            _log.exception("a call on a session failed", call=name)
            result.error.CopyFrom(_internal())
        return result

    async def frame(self, heartbeat: float) -> pb.SessionResponse | None:
        """The next answers; an empty frame after a silence; None when the caller has ended and nothing is left."""
        self.news.clear()
        if not self._answers:
            try:
                async with asyncio.timeout(heartbeat):
                    await self.news.wait()
            except TimeoutError:
                return pb.SessionResponse()
        return self._gather(self._answers.popleft()) if self._answers else None

    def _gather(self, first: pb.SessionResult) -> pb.SessionResponse:
        """What is taken makes room: a caller that does not read is not read from either."""
        frame = pb.SessionResponse(results=[first])
        size = first.ByteSize()
        while len(frame.results) < _PER_FRAME and size < _FRAME_BYTES and self._answers:
            result = self._answers.popleft()
            size += result.ByteSize()
            frame.results.append(result)
        self._bytes -= size
        self._taken.set()
        for result in frame.results:
            self._ids.discard(result.id)
            self._room.release()
        return frame

    def leave(self) -> None:
        """Stop waiting for answers; what was begun goes on without."""
        for task in self._tasks:
            task.cancel()


def _internal() -> status_pb2.Status:
    return to_status(
        InterlockError(Reason.INTERNAL, "The executor failed in an unexpected way; its log says how.")
    )
