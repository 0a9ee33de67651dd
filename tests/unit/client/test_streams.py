"""Resuming streams, and cutting repeated output."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, strategies

from interlock.client.retry import Retry, may_repeat
from interlock.client.streams import OutputFilter, resuming
from interlock.common.errors import InterlockError, Reason
from interlock.v1.orchestrator_pb2 import WatchRunResponse
from interlock.v1.step_pb2 import OUTPUT_STREAM_STDERR, OUTPUT_STREAM_STDOUT, OutputChunk

GONE = InterlockError(Reason.UNAVAILABLE, "gone")
FAST = Retry(attempts=4, first=0.001, longest=0.002)


@dataclass(frozen=True)
class Message:
    cursor: str
    value: int = 0


def server(
    messages: list[Message], breaks: list[int], error: Reason = Reason.UNAVAILABLE
) -> tuple[Callable[[str], AsyncIterator[Message]], list[str]]:
    """A stream that breaks after the given numbers of messages; the cursors it was opened at."""
    opened: list[str] = []

    async def open_at(cursor: str) -> AsyncIterator[Message]:
        opened.append(cursor)
        start = 0 if not cursor else next(i for i, m in enumerate(messages) if m.cursor == cursor) + 1
        limit = breaks.pop(0) if breaks else None
        for count, message in enumerate(messages[start:]):
            if count == limit:
                raise InterlockError(error, "gone")
            yield message
        if limit is not None:
            raise InterlockError(error, "gone")

    return open_at, opened


MESSAGES = [Message(f"c{n}", n) for n in range(10)]


@given(breaks=strategies.lists(strategies.integers(1, 4), max_size=6))
async def test_every_message_comes_once_in_order_whatever_breaks(breaks: list[int]) -> None:
    open_at, _ = server(MESSAGES, breaks)
    enough = replace(FAST, attempts=8)  # the stream may break in a row after its last message
    assert [message async for message in resuming(open_at, "", enough.delays)] == MESSAGES


async def test_it_continues_from_the_last_cursor() -> None:
    open_at, opened = server(MESSAGES, [3, 2])
    assert [message.value async for message in resuming(open_at, "c1", FAST.delays)] == list(range(2, 10))
    assert opened == ["c1", "c4", "c6"]


async def test_messages_without_a_cursor_keep_the_one_before() -> None:
    opened: list[str] = []

    async def open_at(cursor: str) -> AsyncIterator[Message]:
        opened.append(cursor)
        if len(opened) == 1:
            yield Message("a")
            yield Message("")
            raise InterlockError(Reason.UNAVAILABLE, "gone")

    assert [m.cursor async for m in resuming(open_at, "", FAST.delays)] == ["a", ""]
    assert opened == ["", "a"]


async def test_tries_are_bounded() -> None:
    open_at, opened = server(MESSAGES, [0] * 100)
    with pytest.raises(InterlockError) as caught:
        _ = [message async for message in resuming(open_at, "", FAST.delays)]
    assert caught.value.reason is Reason.UNAVAILABLE
    assert len(opened) == FAST.attempts


async def test_a_message_gives_new_tries() -> None:
    open_at, _ = server(MESSAGES, [1] * 9)
    assert len([message async for message in resuming(open_at, "", FAST.delays)]) == 10


async def test_a_slow_reader_goes_on_where_it_was() -> None:
    open_at, opened = server(MESSAGES, [5], Reason.RESOURCE_EXHAUSTED)
    assert len([message async for message in resuming(open_at, "", FAST.delays)]) == 10
    assert opened == ["", "c4"]


async def test_an_expired_cursor_goes_on_after_the_snapshot_that_stands_in_for_it() -> None:
    opened: list[str] = []

    async def open_at(cursor: str) -> AsyncIterator[Message]:
        opened.append(cursor)
        yield Message("snapshot" if cursor == "old" else "after")
        if cursor == "old":
            raise InterlockError(Reason.CURSOR_EXPIRED, "old", metadata={"cursor": "snapshot"})

    assert [m.cursor async for m in resuming(open_at, "old", FAST.delays)] == ["snapshot", "after"]
    assert opened == ["old", "snapshot"]


@pytest.mark.parametrize("reason", [Reason.CURSOR_EXPIRED, Reason.RUN_NOT_FOUND, Reason.UNAUTHENTICATED])
async def test_other_errors_are_raised_at_once(reason: Reason) -> None:
    open_at, opened = server(MESSAGES, [2], reason)
    with pytest.raises(InterlockError) as caught:
        _ = [message async for message in resuming(open_at, "", FAST.delays)]
    assert caught.value.reason is reason
    assert len(opened) == 1


def chunk(
    offset: int, data: bytes, stream: int = OUTPUT_STREAM_STDOUT, step: int = 1, attempt: int = 1
) -> WatchRunResponse:
    return WatchRunResponse(
        output=OutputChunk(step=step, attempt=attempt, stream=stream, offset=offset, data=data)  # type: ignore[arg-type]
    )


@given(
    text=strategies.binary(max_size=60),
    restarts=strategies.lists(strategies.integers(1, 60), max_size=4),
    size=strategies.integers(1, 9),
)
def test_output_is_the_same_however_often_it_is_sent_again(
    text: bytes, restarts: list[int], size: int
) -> None:
    seen, fresh = OutputFilter(), b""
    for end in [*restarts, len(text)]:
        for offset in range(0, min(end, len(text)), size):
            message = chunk(offset, text[offset : offset + size])
            if seen.fresh(message):
                assert message.output.offset == len(fresh)
                fresh += message.output.data
    assert fresh == text


def test_streams_steps_and_attempts_are_apart() -> None:
    seen = OutputFilter()
    assert seen.fresh(chunk(0, b"abc"))
    assert not seen.fresh(chunk(0, b"abc"))
    assert seen.fresh(chunk(0, b"abc", stream=OUTPUT_STREAM_STDERR))
    assert seen.fresh(chunk(0, b"abc", step=2))
    assert seen.fresh(chunk(0, b"abc", attempt=2))


def test_a_gap_in_live_output_is_passed_on() -> None:
    seen = OutputFilter()
    assert seen.fresh(chunk(0, b"abc"))
    late = chunk(10, b"xyz")
    assert seen.fresh(late)
    assert late.output.offset == 10


def test_events_always_pass() -> None:
    assert OutputFilter().fresh(WatchRunResponse(cursor="c"))


def test_waits_grow_and_are_bounded() -> None:
    waits = Retry(attempts=8, first=0.1, longest=1.0).delays()
    delays = [waits.after(GONE) or 0 for _ in range(7)]
    assert waits.after(GONE) is None
    for delay, step in zip(delays, [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0], strict=True):
        assert step / 2 <= delay <= step


def test_only_what_cannot_have_acted_twice_is_repeated() -> None:
    repeated = {reason for reason in Reason if may_repeat(InterlockError(reason, ""))}
    assert repeated == {Reason.UNAVAILABLE, Reason.DATABASE_UNAVAILABLE, Reason.LEASE_LOST}
