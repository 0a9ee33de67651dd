"""Signing in at a provider: what the page may send, and what is answered without one or while it is away."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from interlock.common.addresses import Address
from interlock.common.clock import ManualClock
from interlock.common.errors import InterlockError, Reason
from interlock.gateway.config import Limits, Provider, load
from interlock.gateway.http.exchange import Exchange
from interlock.gateway.http.guard import Hosts
from interlock.gateway.signin import PATH, SignIn

AWAY = Provider("http://127.0.0.1:1", "interlock", "secret")
GOOD = {"code": "c", "verifier": "v" * 43, "back": "http://localhost:8002/console/signed-in"}


def signing_in(provider: Provider | None) -> SignIn:
    return SignIn(provider, Hosts(Address("127.0.0.1", 8002)), ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))


async def asked(
    page: Callable[[Exchange], Awaitable[None]], body: bytes = b"", kind: str = "application/json"
) -> Any:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"method": "POST", "raw_path": PATH.encode(), "headers": [(b"content-type", kind.encode())]}
    await page(Exchange(scope, receive, send, Limits(), "req-1"))
    assert sent[0]["status"] == 200
    return json.loads(b"".join(each.get("body", b"") for each in sent))


async def refused(provider: Provider | None, document: Any, **more: str) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        await asked(signing_in(provider).posts()[PATH], json.dumps(document).encode(), **more)
    return caught.value


async def test_without_a_provider_there_is_no_button_and_no_exchange() -> None:
    assert await asked(signing_in(None).pages()[PATH]) == {}
    assert (await refused(None, GOOD)).reason is Reason.UNAUTHENTICATED


@pytest.mark.parametrize(
    "changes",
    [
        {"code": ""},
        {"code": "c" * 4097},
        {"code": 1},
        {"more": "x"},
        {"back": "http://localhost:8002/elsewhere"},
        {"back": "http://localhost:8002/console/signed-in?x=1"},
        {"back": "https://evil.example/console/signed-in"},
    ],
    ids=str,
)
async def test_what_the_page_would_never_send_is_refused(changes: dict[str, Any]) -> None:
    error = await refused(AWAY, {**GOOD, **changes})
    assert error.reason is Reason.INVALID_ARGUMENT


async def test_a_form_of_another_page_is_refused() -> None:
    assert (await refused(AWAY, GOOD, kind="text/plain")).reason is Reason.INVALID_ARGUMENT


async def test_a_provider_that_is_away_is_said_and_not_asked_again_at_once() -> None:
    one = signing_in(AWAY)
    found = []
    for _ in range(2):
        with pytest.raises(InterlockError) as caught:
            await asked(one.pages()[PATH])
        found.append(caught.value)
    assert found[0].reason is Reason.UNAVAILABLE
    assert found[0] is found[1]


def test_where_people_sign_in_comes_from_the_environment() -> None:
    env = {"INTERLOCK_OIDC_ISSUER": "https://id.example", "INTERLOCK_OIDC_AUDIENCE": "first,second"}
    found = load(env).provider
    assert found == Provider("https://id.example", "first")
    env |= {"INTERLOCK_OIDC_CLIENT_ID": "console", "INTERLOCK_OIDC_CLIENT_SECRET": "hush"}
    found = load(env).provider
    assert found == Provider("https://id.example", "console", "hush")
    assert "hush" not in repr(found)
    assert load({}).provider is None
    with pytest.raises(InterlockError, match="https"):
        load({**env, "INTERLOCK_OIDC_ISSUER": "http://id.example"})
