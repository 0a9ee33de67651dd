"""Issued tokens: their text, and an authenticator that asks whose they are and remembers it for seconds.

A token's text is `ilk_<token id>_<secret>`: the id is no secret and finds the row, the secret is 32 random bytes
in base64url. Only the SHA-256 of the text is kept or sent around. A slow hash as for passwords would add nothing:
256 random bits cannot be guessed.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from interlock.common.auth import ISSUED, bearer, not_accepted
from interlock.common.clock import Clock
from interlock.common.identity import Identity

TTL_SECONDS: Final = 5.0
_REMEMBERED: Final = 10_000
_FORM: Final = re.compile(r"ilk_(tok-[0-9a-z]{26})_([A-Za-z0-9_-]{43})")

Lookup = Callable[[str, bytes], Awaitable[Identity | None]]
"""`(token id, SHA-256 of the text) -> whose it is`, or None where it is not accepted."""


def new_text(token_id: str) -> str:
    """The text of a new token."""
    return f"{ISSUED}{token_id}_{secrets.token_urlsafe(32)}"


def digest(text: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True, slots=True)
class _Known:
    identity: Identity | None
    until: float


class IssuedTokens:
    """Accepts issued tokens. Whose one is is asked once in `ttl` seconds, so a revoked one lives on for so long."""

    def __init__(self, lookup: Lookup, clock: Clock, ttl: float = TTL_SECONDS) -> None:
        self._lookup = lookup
        self._clock = clock
        self._ttl = ttl
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    async def authenticate(self, metadata: Mapping[str, str]) -> Identity:
        """Whose the call's token is. Raises UNAUTHENTICATED; UNAVAILABLE when nobody can tell now."""
        text = bearer(metadata)
        form = _FORM.fullmatch(text)
        if form is None:
            raise not_accepted()
        identity = await self._find(form[1], digest(text))
        if identity is None or (identity.expires_at and identity.expires_at <= self._clock.now()):
            raise not_accepted()
        return identity

    async def _find(self, token_id: str, key: bytes) -> Identity | None:
        known = self._known.get(key)
        if known is not None and self._clock.monotonic() < known.until:
            return known.identity
        identity = await self._lookup(token_id, key)
        self._known[key] = _Known(identity, self._clock.monotonic() + self._ttl)
        self._known.move_to_end(key)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return identity
