"""Replies of a run that is replayed, for the planner to answer from in place of a model."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator

from interlock.orchestrator.convert import results
from interlock.orchestrator.domain.model import ModelCall, Run
from interlock.orchestrator.runs.book import RunBook
from interlock.orchestrator.runs.payloads import Payloads
from interlock.v1 import planner_pb2

MAX_BYTES = 10 * 1024 * 1024
"""Most bytes of exchanges that go with one question; the step's own come first."""


async def record(
    book: RunBook, payloads: Payloads, run: Run, step: int, purposes: frozenset[str]
) -> planner_pb2.ReplyRecord:
    """The exchanges of the replayed run that may answer: of these purposes, those of the same step first.

    As often as this run has had a reply to a request, as many of the recorded ones to it are passed over.
    """
    source = await book.refresh(run.replay_from)
    used = Counter([request async for _, _, request in _asked(payloads, run, purposes)])
    found = [each async for each in _asked(payloads, source, purposes)]
    left = Counter(request for _, _, request in found)
    out = planner_pb2.ReplyRecord(origin=source.run_id)
    size = 0
    for _, call, request in sorted(found, key=lambda each: each[0] != step):
        if used[request] and left[request] > 1:
            used[request] -= 1
            left[request] -= 1
            continue
        bodies = await payloads.get((call.prompt_payload, call.reply_payload, call.request_payload))
        if len(bodies) < len({call.prompt_payload, call.reply_payload, call.request_payload}):
            continue  # erased
        size += sum(map(len, bodies.values()))
        if size > MAX_BYTES:
            break
        out.exchanges.append(results.exchange(call, bodies))
    return out


async def _asked(
    payloads: Payloads, run: Run, purposes: frozenset[str]
) -> AsyncIterator[tuple[int, ModelCall, bytes]]:
    """Calls of these purposes with the step each was for and the address of what was asked; none that was erased."""
    for step, call in _calls(run):
        if call.purpose in purposes and call.request_payload:
            bodies = await payloads.get((call.request_payload,))
            if request := bodies.get(call.request_payload):
                yield step, call, hashlib.sha256(request).digest()


def _calls(run: Run) -> Iterator[tuple[int, ModelCall]]:
    """Every call of a run with the step that it was for; 0 is planning."""
    for call in run.model_calls:
        yield 0, call
    for step in run.steps:
        for call in step.model_calls:
            yield step.number, call
