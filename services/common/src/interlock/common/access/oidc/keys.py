"""The provider's public keys, fetched when they are needed and kept for as long as they may be."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, Final

from interlock.common import logs
from interlock.common.access.oidc import refusals
from interlock.common.clock import Clock
from interlock.common.errors import InterlockError

FRESH_SECONDS: Final = 600.0
STALE_SECONDS: Final = 86_400.0
PAUSE_SECONDS: Final = 10.0
_FETCH_SECONDS: Final = 15.0
_MOST_KEYS: Final = 64
_SMALLEST_RSA: Final = 2048
_LARGEST_RSA: Final = 8192
_CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
ALGORITHMS: Final = frozenset({*_RSA, *_CURVES.values(), "Ed25519"})
"""Signatures that are accepted. None of them can be made from what the provider publishes."""

_log = logs.get("access")

Fetch = Callable[[], Awaitable[list[Any]]]
"""The JWKs that the provider publishes at present. Raises InterlockError."""


class Keys:
    """Finds the key that a token names.

    Keys are fetched anew when they are older than FRESH_SECONDS (calls go on with the old ones meanwhile) and when a
    token names one that is not known: a provider that changes its keys signs with a new one at once. Whatever tokens
    name, the provider is asked once in PAUSE_SECONDS, and by one call for all. While it is away, keys are good for
    STALE_SECONDS.
    """

    def __init__(self, issuer: str, fetch: Fetch, clock: Clock) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._keys: list[Any] = []
        self._fetched: float | None = None
        self._asked: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str, besides: Any = None) -> Any:
        """The key for a token with this header; one that did not sign it is asked for again, with `besides`: some
        providers do not name their keys, or call all of them the same. Raises UNAUTHENTICATED when the provider has
        none, UNAVAILABLE."""
        age = self._age()
        if age > FRESH_SECONDS:
            self._ask()
        if age > STALE_SECONDS:
            await self._answered()
        found = self._known(kid, algorithm)
        if found is None or found is besides:
            self._ask()
            await self._answered()
            found = self._known(kid, algorithm)
        if self._age() > STALE_SECONDS:
            raise refusals.unreachable(self._issuer)
        if found is None:
            raise refusals.unknown_key()
        return found

    async def close(self) -> None:
        """Ends what is being fetched."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _age(self) -> float:
        return float("inf") if self._fetched is None else self._clock.monotonic() - self._fetched

    def _known(self, kid: str | None, algorithm: str) -> Any:
        """The one key that fits. A token without a `kid` names a key only where there is no second one."""
        fitting = [key for key in self._keys if algorithm in _algorithms_of(key) and kid in (None, key.kid)]
        return fitting[0] if len(fitting) == 1 else None

    def _ask(self) -> None:
        now = self._clock.monotonic()
        if self._fetching is None and (self._asked is None or now - self._asked >= PAUSE_SECONDS):
            self._asked = now
            self._fetching = asyncio.create_task(self._refresh(), name="oidc-keys")

    async def _answered(self) -> None:
        if self._fetching is not None:
            await asyncio.shield(self._fetching)

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                self._keys = usable(await self._fetch())
            self._fetched = self._clock.monotonic()
        except TimeoutError:
            _log.warning("the OpenID provider does not answer", issuer=self._issuer)
        except InterlockError as error:
            _log.warning("the OpenID provider's keys were not fetched", issuer=self._issuer, why=str(error))
        finally:
            self._fetching = None


def usable(published: list[Any]) -> list[Any]:
    """Those of a JWKS that can check signatures here. Others are left out, not an error: a set may hold new kinds."""
    from joserfc import jwk
    from joserfc.errors import JoseError

    found = []
    for entry in published[:_MOST_KEYS]:
        if not isinstance(entry, dict) or entry.get("kty") not in ("RSA", "EC", "OKP"):
            continue
        public = {name: value for name, value in entry.items() if name not in ("key_ops", "d")}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about small keys, which are left out
            try:
                key = jwk.import_key(public)
            except (JoseError, ValueError, TypeError, KeyError):
                continue
        if _is_strong(key) and _algorithms_of(key):
            found.append(key)
    return found


def _is_strong(key: Any) -> bool:
    bits: int = _SMALLEST_RSA if key.key_type != "RSA" else key.raw_value.key_size
    return _SMALLEST_RSA <= bits <= _LARGEST_RSA


def _algorithms_of(key: Any) -> frozenset[str]:
    """What the key may be used for, by its kind and by what its publisher says of it."""
    said = key.dict_value
    if said.get("use", "sig") != "sig":
        return frozenset()
    if key.key_type == "RSA":
        able = frozenset(_RSA)
    else:
        name = _CURVES.get(str(said.get("crv")), "")
        able = frozenset({name, "Ed25519"} if name == "EdDSA" else {name}) & ALGORITHMS
    return able & {said["alg"]} if isinstance(said.get("alg"), str) else able
