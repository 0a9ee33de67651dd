"""Signing in to the console at the OpenID provider: authorization code (RFC 6749, 4.1) with PKCE (RFC 7636).

The page goes to the provider and comes back with a code, which this process exchanges: so the page talks to its own
origin alone, whatever the provider allows, and a client's secret stays here. The page keeps `state`, `nonce` and the
verifier in its tab, and checks the first two; the services check the token, as with every call.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final
from urllib.parse import urlsplit

from interlock.common.access.oidc.fetching import MOST_BYTES, SECONDS, discovery
from interlock.common.access.oidc.settings import check_url
from interlock.common.clock import Clock
from interlock.common.errors import InterlockError, Reason
from interlock.gateway.app import Page
from interlock.gateway.calls import JSON
from interlock.gateway.config import Provider
from interlock.gateway.http.exchange import Exchange
from interlock.gateway.http.guard import Hosts
from interlock.gateway.transcode.document import bad_body, parse_json, write_json

PATH: Final = "/console/sign-in"
BACK: Final = "/console/signed-in"
"""Where the provider sends the browser back to: to be registered there, below the console's own address."""

_SCOPE: Final = "openid profile email"
_KNOWN_SECONDS: Final = 600.0
_AWAY_SECONDS: Final = 10.0
_MOST: Final = {"code": 4096, "verifier": 128, "back": 2048}
_FRESH: Final = (("cache-control", "no-store"),)


class SignIn:
    """GET says where the page sends people (`{}` without a provider); POST exchanges what they come back with."""

    def __init__(self, provider: Provider | None, hosts: Hosts, clock: Clock) -> None:
        self._provider = provider
        self._hosts = hosts
        self._clock = clock
        self._asking = asyncio.Lock()
        self._found: dict[str, Any] | InterlockError = {}
        self._until = 0.0

    def pages(self) -> dict[str, Page]:
        """Answers by GET."""
        return {PATH: self._where}

    def posts(self) -> dict[str, Page]:
        """Answers by POST."""
        return {PATH: self._exchange}

    async def _where(self, exchange: Exchange) -> None:
        said: dict[str, str] = {}
        if self._provider is not None:
            address = _endpoint(await self._discovered(self._provider), "authorization_endpoint")
            name = urlsplit(self._provider.issuer).hostname or ""
            said = {"authorize": address, "client": self._provider.client, "scope": _SCOPE, "name": name}
        await exchange.answer(200, JSON, write_json(said), _FRESH)

    async def _exchange(self, exchange: Exchange) -> None:
        if self._provider is None:
            raise InterlockError(
                Reason.UNAUTHENTICATED, "No OpenID provider is named.", fix="Sign in with a token."
            )
        given = self._read(exchange, await exchange.body())
        address = _endpoint(await self._discovered(self._provider), "token_endpoint")
        form = {"grant_type": "authorization_code", "client_id": self._provider.client}
        form |= {"code": given["code"], "code_verifier": given["verifier"], "redirect_uri": given["back"]}
        if self._provider.secret:
            form["client_secret"] = self._provider.secret
        token = await exchange.unless_gone(_asked(address, form))
        await exchange.answer(200, JSON, write_json({"token": token}), _FRESH)

    def _read(self, exchange: Exchange, raw: bytes) -> dict[str, str]:
        # A page elsewhere cannot send this type without being asked first.
        if exchange.media_type != JSON:
            raise bad_body(f"it must be {JSON}")
        found = parse_json(raw)
        if not isinstance(found, dict) or set(found) != set(_MOST):
            raise bad_body(f"it must have {', '.join(_MOST)}")
        for name, most in _MOST.items():
            if not isinstance(found[name], str) or not 0 < len(found[name]) <= most:
                raise bad_body(f"{name} must be a text of at most {most} characters")
        back = urlsplit(found["back"])
        if back.path != BACK or back.query or back.fragment:
            raise bad_body(f"back must be the console's {BACK}")
        self._hosts.check(back.netloc)
        return found

    async def _discovered(self, provider: Provider) -> dict[str, Any]:
        """The provider's metadata, asked for at most once at a time, and seldom while it is away."""
        async with self._asking:
            now = self._clock.monotonic()
            if now >= self._until:
                try:
                    self._found, self._until = await discovery(provider.issuer), now + _KNOWN_SECONDS
                except InterlockError as error:
                    self._found, self._until = error, now + _AWAY_SECONDS
        if isinstance(self._found, InterlockError):
            raise self._found
        return self._found


def _endpoint(found: dict[str, Any], name: str) -> str:
    address = found.get(name)
    if not isinstance(address, str):
        raise InterlockError(Reason.UNAVAILABLE, f"The OpenID provider names no {name}.")
    check_url(address, name)
    return address


async def _asked(address: str, form: dict[str, str]) -> str:
    """The ID token for a code. Raises UNAUTHENTICATED where the provider gives none, UNAVAILABLE."""
    import httpx  # only where a provider is configured

    raw = b""
    try:
        async with (
            httpx.AsyncClient(timeout=SECONDS, headers={"accept": JSON}) as client,
            client.stream("POST", address, data=form) as answer,
        ):
            async for part in answer.aiter_bytes():
                raw += part
                if len(raw) > MOST_BYTES:
                    raise _away("its answer is too large")
        found = json.loads(raw)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _away(type(error).__name__) from None
    except (ValueError, RecursionError):
        raise _away("its answer is not JSON") from None
    token = found.get("id_token") if isinstance(found, dict) else None
    if answer.status_code != 200 or not isinstance(token, str):
        why = str(found.get("error", ""))[:80] if isinstance(found, dict) else ""
        raise InterlockError(
            Reason.UNAUTHENTICATED,
            f"The provider gave no token: {why or answer.status_code}.",
            fix="Sign in again.",
        )
    return token


def _away(why: str) -> InterlockError:
    return InterlockError(Reason.UNAVAILABLE, f"The OpenID provider cannot be asked for a token: {why}.")
