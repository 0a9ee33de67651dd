"""WatchRun: a run's events and the live output of its steps, merged into one stream."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import aclosing

import grpc

from interlock.common import logs
from interlock.common.errors import InterlockError, Reason
from interlock.common.paging import decode_cursor, encode_cursor
from interlock.orchestrator.convert import views
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.actions import actions
from interlock.orchestrator.domain.evolve import evolve, fold
from interlock.orchestrator.domain.model import (
    MODEL_KINDS,
    RUN_FINAL,
    Gate,
    Run,
    Step,
    StepKind,
    StepState,
)
from interlock.orchestrator.queries.journal import event_view
from interlock.orchestrator.queries.runs import step_view
from interlock.orchestrator.runs.book import recorded
from interlock.orchestrator.runs.waiting import run_batches
from interlock.orchestrator.store.readers import events
from interlock.orchestrator.store.records import FeedRow
from interlock.v1 import executor_pb2, step_pb2
from interlock.v1 import orchestrator_pb2 as o

_log = logs.get("watch")
HEARTBEAT_SECONDS = 10.0
_QUEUE = 64
_LAST_OUTPUT_SECONDS = 5.0
_ASK_AGAIN_SECONDS = 0.05
_REPLY_AGAIN_SECONDS = 0.5
_RUNS_NOW = (e.StepStarted, e.StepExecuting, e.StepApplying, e.StepEdited, e.PreviewSuperseded)
_SHOWS = (e.StepPrepared, e.StepProposed, e.ApprovalRequested, e.StepSucceeded, e.StepFailed)


async def watch(deps: Deps, message: o.WatchRunRequest) -> AsyncGenerator[o.WatchRunResponse, None]:
    """From the cursor on, until the run has ended and everything was told."""
    newest = await deps.book.refresh(message.run_id)
    if message.cursor:
        after = decode_cursor(_scope(newest.run_id), message.cursor).integer("seq")
        if after > newest.seq:
            # Of a database that was put back to an earlier state: waiting here would leave a gap unsaid.
            raise InterlockError(Reason.CURSOR_INVALID, "The cursor is ahead of the run.", field="cursor")
    else:
        after = newest.seq if message.only_new else 0
    run = newest if after == newest.seq else await _at(deps, newest.run_id, after)
    watcher = _Watcher(deps, run, newest.run_id, with_output=not message.without_output)
    async with aclosing(watcher.stream()) as stream:
        async for response in stream:
            yield response


async def _at(deps: Deps, run_id: str, seq: int) -> Run | None:
    """The run as it was after event `seq`."""
    run: Run | None = None
    while (have := run.seq if run else 0) < seq:
        rows = await events.of_run(deps.database, run_id, have, min(1000, seq - have))
        if not rows:
            break
        run = fold(map(recorded, rows), run)
    return run


def _scope(run_id: str) -> str:
    return f"WatchRun/{run_id}"


def _report_defect(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("live output is not relayed any more", error=type(error).__name__)


def _runs(step: Step) -> bool:
    """Whether the step's command is running, or ran, in this attempt; before its gate COMMAND it does not."""
    if step.spec.kind is not StepKind.RUN_COMMAND:
        return False
    if step.gate in (Gate.COMMAND, Gate.BOTH):
        return bool(step.approved_request) and step.state in (StepState.PREPARING, StepState.APPLYING)
    return True


def _thinks(step: Step) -> bool:
    """Whether a model answers the step in words."""
    return step.spec.kind in MODEL_KINDS


class _Watcher:
    """One stream: events come through `_follow`, output through one task per attempt, both into one queue."""

    def __init__(self, deps: Deps, run: Run | None, run_id: str, *, with_output: bool) -> None:
        self._deps = deps
        self._run = run
        self._run_id = run_id
        self._with_output = with_output
        self._queue: asyncio.Queue[o.WatchRunResponse | None] = asyncio.Queue(_QUEUE)
        self._outputs: dict[tuple[int, int], asyncio.Task[None]] = {}
        self._heard: tuple[int, int] | None = None  # whose reply is coming in
        self._error: InterlockError | None = None

    async def stream(self) -> AsyncGenerator[o.WatchRunResponse, None]:
        """Responses until the run has ended."""
        follower = asyncio.create_task(self._follow_to_the_end())
        try:
            while (response := await self._queue.get()) is not None:
                yield response
            if self._error is not None:
                raise self._error
        finally:
            for task in (follower, *self._outputs.values()):
                task.cancel()
            await asyncio.gather(follower, *self._outputs.values(), return_exceptions=True)

    async def _follow_to_the_end(self) -> None:
        try:
            await self._follow()
        except InterlockError as error:
            self._error = error
        except asyncio.CancelledError:
            raise  # who cancels reads no more: in a full queue the end would wait for room for ever
        except BaseException:
            await self._queue.put(None)
            raise
        await self._queue.put(None)

    async def _follow(self) -> None:
        seq = self._run.seq if self._run else 0
        self._start_output_of_current()
        if await self._ended():
            return
        async with aclosing(run_batches(self._deps.feed, self._run_id, seq, HEARTBEAT_SECONDS)) as tail:
            async for rows in tail:
                if not rows:
                    await self._queue.put(o.WatchRunResponse(cursor=self._cursor()))
                for row in rows:
                    await self._tell(row)
                if await self._ended():
                    return

    async def _ended(self) -> bool:
        """Whether the run is final, nothing is left to do for it, and nothing newer is in the journal."""
        if self._run is None or self._run.state not in RUN_FINAL or actions(self._run):
            return False
        newest = await self._deps.book.refresh(self._run_id)
        return newest.seq == self._run.seq

    async def _tell(self, row: FeedRow) -> None:
        record = recorded(row)
        event = record.event
        self._run = evolve(self._run, record)
        if isinstance(event, _SHOWS):
            await self._finish_output(event.step)
        response = o.WatchRunResponse(event=event_view(row), cursor=self._cursor(), run=views.run(self._run))
        step = self._run.step(event.step)
        if step is not None:
            shown = isinstance(event, _SHOWS)
            view = await step_view(self._deps, self._run, step) if shown else views.step(self._run, step, {})
            response.step.CopyFrom(view)
        await self._queue.put(response)
        if isinstance(event, _RUNS_NOW):
            self._start_output_of_current()

    def _start_output_of_current(self) -> None:
        step = self._run.current if self._run else None
        if self._run is None or step is None or not self._with_output or not (_runs(step) or _thinks(step)):
            return
        key = (step.number, step.attempt)
        if key not in self._outputs:
            relay = self._reply(*key) if _thinks(step) else self._output(self._run.workspace_id, *key)
            self._outputs[key] = asyncio.create_task(relay)
            self._outputs[key].add_done_callback(_report_defect)

    async def _output(self, workspace_id: str, step: int, attempt: int) -> None:
        """Relays live output. What cannot be relayed is not lost: the step's effect has it.

        The executor may not have begun when we ask, and may be away for a while: ask again, from where we are.
        """
        key = executor_pb2.EffectKey(run_id=self._run_id, step=step, attempt=attempt)
        have: dict[int, int] = {}
        while True:
            request = executor_pb2.StreamOutputRequest(
                key=key,
                stdout_offset=have.get(step_pb2.OUTPUT_STREAM_STDOUT, 0),
                stderr_offset=have.get(step_pb2.OUTPUT_STREAM_STDERR, 0),
            )
            with contextlib.suppress(grpc.aio.AioRpcError, InterlockError):
                executor = await self._deps.executor.at(workspace_id)
                async for response in executor.output(request):
                    if response.HasField("chunk"):
                        chunk = response.chunk
                        have[chunk.stream] = chunk.offset + len(chunk.data)
                        await self._queue.put(o.WatchRunResponse(output=chunk, cursor=self._cursor()))
            if not self._computing(step, attempt):
                return
            await asyncio.sleep(_ASK_AGAIN_SECONDS)

    async def _reply(self, step: int, attempt: int) -> None:
        """Relays a model's reply while it comes. What is lost of it is in the step's result, as the rest is."""
        have = 0
        while self._computing(step, attempt):
            with contextlib.suppress(grpc.aio.AioRpcError):
                chunks = self._deps.replies.follow(self._run_id, step, attempt, have)
                async with aclosing(chunks):
                    async for chunk in chunks:
                        self._heard = (step, attempt)
                        have = chunk.offset + len(chunk.data)
                        await self._queue.put(o.WatchRunResponse(output=chunk, cursor=self._cursor()))
            self._heard = None
            await asyncio.sleep(_REPLY_AGAIN_SECONDS)

    def _computing(self, number: int, attempt: int) -> bool:
        """Whether the attempt's result was not told yet."""
        step = self._run.current if self._run else None
        return (
            step is not None and (step.number, step.attempt) == (number, attempt) and step.computed != attempt
        )

    async def _finish_output(self, step: int) -> None:
        """Lets output arrive before the event that says how the step ended."""
        for key, task in self._outputs.items():
            if key[0] != step or task.done():
                continue
            if self._is_waiting(key):
                task.cancel()
            else:
                await asyncio.wait([task], timeout=_LAST_OUTPUT_SECONDS)

    def _is_waiting(self, key: tuple[int, int]) -> bool:
        """Whether nothing more can come: the model's reply has ended, or was not told at all."""
        step = self._run.step(key[0]) if self._run else None
        return step is not None and _thinks(step) and self._heard != key

    def _cursor(self) -> str:
        return encode_cursor(_scope(self._run_id), {"seq": self._run.seq if self._run else 0})
