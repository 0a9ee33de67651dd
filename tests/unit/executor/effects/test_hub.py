from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from interlock.common.clock import ManualClock
from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.model import EffectKey
from interlock.executor.effects.hub import HEAD_BYTES, WINDOW_BYTES, Hub, Log

KEY = EffectKey("run-1", 1, 1)


def log() -> Log:
    return Log(ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))


async def add(target: Log, data: bytes, stream: str = "stdout", at: dict[str, int] | None = None) -> None:
    offsets = at if at is not None else {}
    await target.chunk(stream, offsets.get(stream, 0), data)
    offsets[stream] = offsets.get(stream, 0) + len(data)


async def everything(target: Log, offsets: dict[str, int]) -> dict[str, list[tuple[int, bytes]]]:
    found: dict[str, list[tuple[int, bytes]]] = {"stdout": [], "stderr": []}
    async for piece in target.read(offsets, 60):
        assert piece is not None
        found[piece.stream].append((piece.offset, piece.data))
    return found


async def test_a_reader_follows_to_the_end() -> None:
    target, at = log(), {}  # type: Log, dict[str, int]
    reader = asyncio.create_task(everything(target, {}))
    for word in (b"a", b"bc", b"def"):
        await add(target, word, at=at)
        await asyncio.sleep(0)
    await add(target, b"err", "stderr", at)
    target.end()
    found = await reader
    assert b"".join(data for _, data in found["stdout"]) == b"abcdef"
    assert found["stderr"] == [(0, b"err")]


async def test_offsets_are_honoured() -> None:
    target = log()
    await add(target, b"abcdef")
    target.end()
    assert await everything(target, {"stdout": 4}) == {"stdout": [(4, b"ef")], "stderr": []}
    assert await everything(target, {"stdout": 6}) == {"stdout": [], "stderr": []}


async def test_a_late_reader_gets_head_and_window_with_true_offsets() -> None:
    target, at = log(), {}  # type: Log, dict[str, int]
    whole = b"".join(bytes([i % 251]) * 65536 for i in range(80))
    for begin in range(0, len(whole), 65536):
        await add(target, whole[begin : begin + 65536], at=at)
    target.end()
    pieces = (await everything(target, {}))["stdout"]
    assert all(whole[offset : offset + len(data)] == data for offset, data in pieces)
    assert pieces[0][0] == 0
    assert pieces[-1][0] + len(pieces[-1][1]) == len(whole)
    assert HEAD_BYTES + WINDOW_BYTES <= sum(len(data) for _, data in pieces) <= HEAD_BYTES + 2 * WINDOW_BYTES


async def test_a_reader_that_falls_behind_is_refused() -> None:
    target, at = log(), {}  # type: Log, dict[str, int]
    await add(target, b"x" * HEAD_BYTES * 2, at=at)
    reader = target.read({}, 60)
    for _ in range(2 * HEAD_BYTES // 65536):
        assert await anext(reader) is not None
    await add(target, b"y", at=at)
    assert await anext(reader) is not None
    for _ in range(60):
        await add(target, b"z" * 65536, at=at)
    with pytest.raises(InterlockError) as caught:
        _ = [piece async for piece in reader]
    assert caught.value.reason is Reason.RESOURCE_EXHAUSTED
    assert int(caught.value.metadata["offset"]) > HEAD_BYTES


async def test_silence_is_broken_by_heartbeats() -> None:
    target = log()
    reader = target.read({}, 0.01)
    assert await anext(reader) is None
    await add(target, b"a")
    piece = await anext(reader)
    assert piece is not None
    assert piece.data == b"a"


async def test_logs_by_key() -> None:
    hub = Hub(ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))
    opened = hub.open(KEY)
    assert hub.get(KEY) is opened
    hub.close(KEY)
    hub.close(KEY)
    assert hub.get(KEY) is None
    assert await everything(opened, {}) == {"stdout": [], "stderr": []}
