"""The authorization code flow of a program on the person's own machine (RFC 8252), with PKCE (RFC 7636).

The browser brings the code back to a port on loopback, which takes one request with the right `state` and is closed.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

from interlock.client.login import Login, claims, ended, exchanged
from interlock.common.access.oidc.fetching import discovery
from interlock.common.access.oidc.settings import check_url
from interlock.common.errors import InterlockError, Reason

SCOPE: Final = "openid profile email"
_PATH: Final = "/callback"
_MOST_HEAD: Final = 16 * 1024
_HEAD_SECONDS: Final = 10.0
_PAGE: Final = b"<!doctype html><title>Interlock</title><p>You can close this page."


async def log_in(
    issuer: str, client: str, *, secret: str, scope: str, seconds: float, show: Callable[[str], None]
) -> Login:
    """A new login; `show` takes the address that the person opens. Raises UNAUTHENTICATED when it is refused,
    DEADLINE_EXCEEDED when nobody comes back, UNAVAILABLE."""
    check_url(issuer, "issuer")
    provider = await discovery(issuer)
    authorization = _endpoint(provider, "authorization_endpoint")
    token_endpoint = _endpoint(provider, "token_endpoint")
    verifier, state, nonce = (secrets.token_urlsafe(48) for _ in range(3))
    came: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(_Callback(state, came), "127.0.0.1", 0, limit=_MOST_HEAD)
    async with server:
        back = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{_PATH}"
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {"response_type": "code", "client_id": client, "redirect_uri": back, "scope": scope}
        asked |= {
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        show(f"{authorization}{'&' if '?' in authorization else '?'}{urlencode(asked)}")
        try:
            async with asyncio.timeout(seconds):
                code = await came
        except TimeoutError:
            raise InterlockError(
                Reason.DEADLINE_EXCEEDED, f"Nobody came back from the provider within {seconds:.0f} s."
            ) from None
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "code_verifier": verifier}
    login = await asyncio.to_thread(exchanged, issuer, token_endpoint, client, secret, form)
    if claims(login.token).get("nonce") != nonce:
        raise ended("The provider's token is not of this login.")
    return login


def _endpoint(provider: dict[str, object], name: str) -> str:
    found = str(provider.get(name, ""))
    check_url(found, name)
    return found


class _Callback:
    """Answers the browser; the first request with our `state` counts, others are turned away."""

    def __init__(self, state: str, came: asyncio.Future[str]) -> None:
        self._state = state
        self._came = came

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            status, page = self._taken(head.split(b"\r\n", 1)[0].decode("ascii", "replace"))
            writer.write(
                b"HTTP/1.1 %s\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: %d\r\n"
                b"connection: close\r\nreferrer-policy: no-referrer\r\ncache-control: no-store\r\n\r\n%s"
                % (status, len(page), page)
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, TimeoutError):
            pass  # a browser that changed its mind; the person can try again
        finally:
            writer.close()

    def _taken(self, line: str) -> tuple[bytes, bytes]:
        words = line.split(" ")
        target = urlsplit(words[1]) if len(words) == 3 and words[0] == "GET" else urlsplit("")
        given = {name: values[0] for name, values in parse_qs(target.query).items()}
        known = hmac.compare_digest(given.get("state", "").encode(), self._state.encode())
        if target.path != _PATH or not known or self._came.done():
            return b"404 Not Found", b"Nothing here."
        if code := given.get("code"):
            self._came.set_result(code)
        else:
            self._came.set_exception(ended(f"The provider refused: {given.get('error', 'no code')[:80]}."))
        return b"200 OK", _PAGE
