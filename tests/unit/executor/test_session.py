"""The session beside a caller that sends and does not read."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from interlock.executor.session import run_session
from interlock.v1 import executor_pb2 as pb

MIB = 1 << 20
CALLS = 400


class Service:
    """Answers every Prepare with a mebibyte, as often as it is asked."""

    def __init__(self) -> None:
        self.asked: Counter[int] = Counter()
        self.all_asked = asyncio.Event()

    async def Prepare(self, request: pb.PrepareRequest, context: Any) -> pb.PrepareResponse:
        await asyncio.sleep(0)
        self.asked[request.key.step] += 1
        if len(self.asked) == CALLS:
            self.all_asked.set()
        response = pb.PrepareResponse()
        response.effect.diff = "x" * MIB
        return response

    Propose = Apply = Discard = Prepare


async def calls() -> AsyncIterator[pb.SessionRequest]:
    for number in range(1, CALLS + 1):
        prepare = pb.PrepareRequest(key=pb.EffectKey(run_id="run-1", step=number, attempt=1))
        yield pb.SessionRequest(items=[pb.SessionItem(id=number, prepare=prepare)])


async def test_answers_that_nobody_reads_wait_in_bounds_and_all_arrive() -> None:
    service = Service()
    frames = run_session(service, calls(), 10.0, asyncio.Event())
    first = await anext(frames)
    await service.all_asked.wait()
    waiting = len(frames.ag_frame.f_locals["session"]._answers)  # type: ignore[attr-defined]
    assert 0 < waiting <= 64, "a mebibyte each"
    seen = [result.id for result in first.results]
    async for frame in frames:
        assert frame.ByteSize() <= 10 * MIB
        seen += [result.id for result in frame.results]
    assert sorted(seen) == list(range(1, CALLS + 1))
