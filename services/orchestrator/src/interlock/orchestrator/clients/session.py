"""The executor's session stream: many calls to a frame, both ways, on one bidirectional stream.

What gathers while a frame is being written travels in the next one; there is no timer. When the stream breaks,
every call under way ends with UNAVAILABLE and its caller repeats it: the executor answers a repeated
(run, step, attempt) from its record. The next call opens a new stream.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from interlock.common import telemetry
from interlock.common.errors import InterlockError, Reason
from interlock.common.status import error_from_rpc, from_status
from interlock.common.tasks import stop
from interlock.v1 import executor_pb2, executor_pb2_grpc

_FRAME = 500
_MAX_WAITING = 10_000


class Session:
    """Calls on one stream at a time. `call` may be used by any number of tasks of one loop."""

    def __init__(self, stub: executor_pb2_grpc.ExecutorAsyncStub) -> None:
        self._stub = stub
        self._waiting: dict[int, asyncio.Future[executor_pb2.SessionResult]] = {}
        self._outbox: list[executor_pb2.SessionItem] = []
        self._written = asyncio.Event()
        self._next = 0
        self._task: asyncio.Task[None] | None = None

    async def call(self, kind: str, request: Any) -> Any:
        """Sends one call and returns its answer. Raises the InterlockError it ended with, or UNAVAILABLE."""
        if len(self._waiting) >= _MAX_WAITING:
            raise InterlockError(Reason.RESOURCE_EXHAUSTED, "Too many steps wait for the executor.")
        self._next += 1
        number = self._next
        item = executor_pb2.SessionItem(id=number, traceparent=telemetry.inject(), **{kind: request})
        future: asyncio.Future[executor_pb2.SessionResult] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._outbox.append(item)
        self._written.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="executor-session")
        try:
            result = await future
        finally:
            self._waiting.pop(number, None)
        outcome = result.WhichOneof("outcome")
        if outcome == "error":
            raise from_status(result.error) or InterlockError(Reason.INTERNAL, "The executor met a defect.")
        return getattr(result, str(outcome))

    async def close(self) -> None:
        """Ends the stream; calls under way end with UNAVAILABLE."""
        await stop(self._task)

    async def _run(self) -> None:
        call = self._stub.Session()  # type: ignore[call-arg]  # written to by `write`
        reader = asyncio.create_task(self._read(call))
        writer = asyncio.create_task(self._write(call))
        lost = InterlockError(Reason.UNAVAILABLE, "The executor ended the session.")
        try:
            done, _ = await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except grpc.aio.AioRpcError as error:
            lost = error_from_rpc(error, "executor")
        except asyncio.InvalidStateError:
            pass
        finally:
            for task in (reader, writer):
                task.cancel()
            call.cancel()
            self._fail(lost)

    async def _write(self, call: Any) -> None:
        while True:
            await self._written.wait()
            self._written.clear()
            while self._outbox:
                frame, self._outbox = self._outbox[:_FRAME], self._outbox[_FRAME:]
                await call.write(executor_pb2.SessionRequest(items=frame))

    async def _read(self, call: Any) -> None:
        while True:
            frame = await call.read()
            if frame is grpc.aio.EOF:  # type: ignore[attr-defined]  # not in the stubs
                return
            for result in frame.results:
                future = self._waiting.get(result.id)
                if future is not None and not future.done():
                    future.set_result(result)

    def _fail(self, lost: InterlockError) -> None:
        self._outbox.clear()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(
                    InterlockError(
                        Reason.UNAVAILABLE, lost.message, fix="Start the executor; the step waits for it."
                    )
                )
