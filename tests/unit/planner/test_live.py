"""Replies while they come: from an offset, put together, bounded, and gone with their question."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from interlock.common.clock import ManualClock
from interlock.common.errors import InterlockError, Reason
from interlock.planner.commands import live
from interlock.planner.commands.live import LiveReplies, LiveReply
from interlock.planner.domain.model import ReplyKey

KEY = ReplyKey("run-1", 1, 1)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PIECES_APART_S", 0.0)


@pytest.fixture
def replies() -> LiveReplies:
    return LiveReplies(ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))


async def told(replies: LiveReplies, offset: int = 0) -> bytes:
    out = b""
    async for piece in replies.follow(KEY, offset):
        assert piece.offset == offset + len(out)
        assert len(piece.data) <= live.PIECE_BYTES
        out += piece.data
    return out


async def test_a_reader_that_is_early_hears_all_until_the_end(replies: LiveReplies) -> None:
    early = asyncio.create_task(told(replies))
    await asyncio.sleep(0)
    with replies.open(KEY) as reply:
        assert reply is not None
        for word in ("one ", "two ", "drei ü"):
            reply.add(word)
            await asyncio.sleep(0)
        late = asyncio.create_task(told(replies, 4))
        await asyncio.sleep(0)
    assert await early == "one two drei ü".encode()
    assert await late == "two drei ü".encode()


async def test_words_that_come_together_are_one_piece(replies: LiveReplies) -> None:
    with replies.open(KEY) as reply:
        assert reply is not None
        for _ in range(1000):
            reply.add("word ")
        pieces = replies.follow(KEY, 0)
        assert len((await anext(pieces)).data) == 5000
        await pieces.aclose()


async def test_asking_once_more_is_said_between_the_replies(replies: LiveReplies) -> None:
    reader = asyncio.create_task(told(replies))
    await asyncio.sleep(0)
    with replies.open(KEY) as reply:
        assert reply is not None
        reply.begin()
        reply.add("no")
        reply.begin()
        reply.add("yes")
        await asyncio.sleep(0)
    assert await reader == b"no\n[the model is asked again]\nyes"


def test_what_is_kept_is_bounded() -> None:
    reply = LiveReply()
    for _ in range(5):
        reply.add("x" * 100_000)
    assert len(reply.said) == live.MAX_BYTES


async def test_nobody_waits_for_long_or_in_any_number(
    replies: LiveReplies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PATIENCE_S", 0.0)
    assert await told(replies) == b""
    monkeypatch.setattr(live, "MAX_READERS", 0)
    with pytest.raises(InterlockError) as caught:
        await told(replies)
    assert caught.value.reason is Reason.RESOURCE_EXHAUSTED


async def test_an_older_question_with_the_same_key_leaves_the_newer_one(replies: LiveReplies) -> None:
    with replies.open(KEY) as newer_outlives:
        with replies.open(KEY) as newer:
            assert newer is not None
            newer.add("newer")
            reader = asyncio.create_task(told(replies))
            await asyncio.sleep(0)
        assert newer_outlives is not newer
    assert await reader == b"newer"
