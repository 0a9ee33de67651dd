"""A gateway that fails again and again is not asked for a time, and is found again when it works."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.models import ScriptedServer, chat, of

from interlock.common.clock import ManualClock
from interlock.common.errors import Reason
from interlock.planner.domain.breaker import Breaker
from interlock.planner.gateways.base import CompletionRequest, Gateway, ModelError
from interlock.planner.gateways.guarded import GuardedGateway

ASK = CompletionRequest("hello", timeout_s=20)


async def test_it_is_refused_without_a_call_and_then_tried(
    make: Callable[..., Gateway], server: ScriptedServer
) -> None:
    clock = ManualClock(datetime(2026, 11, 22, tzinfo=UTC))
    guarded = GuardedGateway(make("openai", attempts=1), clock, breaker=Breaker(2, 30))
    server.script(of({}, 500))
    for _ in range(2):
        with pytest.raises(ModelError):
            await guarded.complete(ASK)
    with pytest.raises(ModelError) as caught:
        await guarded.complete(ASK)
    assert (caught.value.reason, caught.value.retry_after) == (Reason.MODEL_UNAVAILABLE, 30)
    assert len(server.asked) == 2
    clock.advance(timedelta(seconds=30).total_seconds())
    server.script(chat("fine"))
    assert (await guarded.complete(ASK)).text == "fine"
    assert guarded.breaker.failures == 0


async def test_an_answer_that_is_an_error_is_no_sign_of_a_server_that_is_gone(
    make: Callable[..., Gateway], server: ScriptedServer
) -> None:
    clock = ManualClock(datetime(2026, 11, 22, tzinfo=UTC))
    guarded = GuardedGateway(make("openai", attempts=1), clock, breaker=Breaker(1, 30))
    server.script(of({}, 401), of({}, 429), chat("fine"))
    for reason in (Reason.MODEL_UNAUTHENTICATED, Reason.MODEL_RATE_LIMITED):
        with pytest.raises(ModelError) as caught:
            await guarded.complete(ASK)
        assert caught.value.reason is reason
    assert (await guarded.complete(ASK)).text == "fine"
