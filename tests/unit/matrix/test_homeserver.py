"""What is temporary is waited out, for as long as the homeserver asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest

from interlock.client import Reason
from interlock.matrix.homeserver import LONGEST_WAIT, Homeserver, Refused, asked_pause

OK = httpx.Response(200, json={"event_id": "$it", "user_id": "@bot:test"})


def limited(**body: object) -> httpx.Response:
    return httpx.Response(429, json={"errcode": "M_LIMIT_EXCEEDED", **body})


@asynccontextmanager
async def answering(
    answers: Sequence[httpx.Response | Exception],
) -> AsyncIterator[tuple[Homeserver, list[float], list[str]]]:
    """A homeserver of these answers, with the pauses taken and the paths asked for."""
    pauses: list[float] = []
    paths: list[str] = []
    left = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path.decode())
        found = next(left)
        if isinstance(found, Exception):
            raise found
        return found

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    transport = httpx.MockTransport(answer)
    async with httpx.AsyncClient(base_url="https://matrix.test", transport=transport) as http:
        yield Homeserver(http, sleep), pauses, paths


async def test_a_limit_is_waited_out_with_the_same_transaction() -> None:
    answers = [limited(retry_after_ms=1500), limited(), limited(retry_after_ms=10**9), OK]
    async with answering(answers) as (homeserver, pauses, paths):
        assert await homeserver.send("!a:b/c", "m.reaction", {}, "once") == "$it"
    assert (pauses[0], pauses[2]) == (1.5, LONGEST_WAIT)
    assert 0 < pauses[1] <= 2
    assert set(paths) == {"/_matrix/client/v3/rooms/%21a%3Ab%2Fc/send/m.reaction/once"}


async def test_a_homeserver_that_is_away_is_asked_again() -> None:
    answers = [httpx.ConnectError("no"), httpx.ReadTimeout("no"), httpx.Response(502, text="<html>"), OK]
    async with answering(answers) as (homeserver, pauses, _):
        assert await homeserver.who_am_i() == "@bot:test"
    assert pauses == sorted(pauses)
    assert len(pauses) == 3


@pytest.mark.parametrize(
    ("status", "reason"),
    [(401, Reason.UNAUTHENTICATED), (403, Reason.PERMISSION_DENIED), (404, Reason.PERMISSION_DENIED)],
)
async def test_a_refusal_is_not_repeated(status: int, reason: Reason) -> None:
    refusal = httpx.Response(status, json={"errcode": "M_FORBIDDEN", "error": "hostile \x1b text"})
    async with answering([refusal]) as (homeserver, pauses, _):
        with pytest.raises(Refused) as refused:
            await homeserver.who_am_i()
    assert (refused.value.status, refused.value.reason, pauses) == (status, reason, [])
    assert "hostile" not in str(refused.value)


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (limited(retry_after_ms=250), 0.25),
        (limited(retry_after_ms="250"), 0.0),
        (limited(retry_after_ms=True), 0.0),
        (limited(retry_after_ms=-1), 0.0),
        (httpx.Response(429, headers={"retry-after": "7"}), 7.0),
        (httpx.Response(429, headers={"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}), 0.0),
        (httpx.Response(503, headers={"retry-after": "7"}), 0.0),
        (None, 0.0),
    ],
)
def test_how_long_is_asked(answer: httpx.Response | None, seconds: float) -> None:
    assert asked_pause(answer) == seconds


async def test_encryption_is_a_matter_of_the_rooms_state() -> None:
    there: Callable[[int], httpx.Response] = lambda status: httpx.Response(status, json={})  # noqa: E731
    async with answering([there(200), there(404)]) as (homeserver, _, _):
        assert await homeserver.is_encrypted("!a:b") is True
        assert await homeserver.is_encrypted("!a:b") is False
