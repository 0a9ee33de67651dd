"""An authenticator for the tokens of an OpenID provider: JSON Web Tokens (RFC 7519), signed (RFC 7515)."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any, Final

from interlock.common.access.oidc import claims, fetching, refusals
from interlock.common.access.oidc.keys import ALGORITHMS, Fetch, Keys
from interlock.common.access.oidc.settings import OidcSettings
from interlock.common.auth import bearer
from interlock.common.clock import Clock
from interlock.common.identity import Identity

VERIFIED_SECONDS: Final = 60.0
"""A token is verified again after so long: by then a key that was withdrawn may be gone."""

_LONGEST: Final = 16 * 1024
_REMEMBERED: Final = 10_000
_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_KID: Final = 256


def is_signed_token(text: str) -> bool:
    """Whether it looks like a signed token: three parts in base64url."""
    return _FORM.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class _Verified:
    identity: Identity
    until: float


class OidcTokens:
    """Accepts the provider's tokens. `fetch` gives its published keys; by default they are asked for over HTTP."""

    def __init__(self, settings: OidcSettings, clock: Clock, fetch: Fetch | None = None) -> None:
        self._settings = settings
        self._clock = clock
        self._keys = Keys(settings.issuer, fetch or (lambda: fetching.key_set(settings.issuer)), clock)
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()

    async def authenticate(self, metadata: Mapping[str, str]) -> Identity:
        """Whose the call's token is. Raises UNAUTHENTICATED; UNAVAILABLE when the provider's keys are not known."""
        text = bearer(metadata)
        if len(text) > _LONGEST or not is_signed_token(text):
            raise refusals.malformed()
        digest = hashlib.sha256(text.encode()).digest()
        known = self._verified.get(digest)
        if known is None or self._clock.monotonic() >= known.until:
            known = self._remember(digest, await self._verify(text))
        self._check_not_over(known.identity)
        return known.identity

    async def close(self) -> None:
        """Ends what is being fetched."""
        await self._keys.close()

    async def _verify(self, text: str) -> Identity:
        header, payload = self._read(text)
        kid, algorithm = header.get("kid"), header["alg"]
        key = await self._keys.find(kid, algorithm)
        if not self._is_signed_by(text, key, algorithm):
            newer = await self._keys.find(kid, algorithm, besides=key)
            if newer is key or not self._is_signed_by(text, newer, algorithm):
                raise refusals.signature()
        return claims.identity(payload, self._settings, self._clock.now())

    def _read(self, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Header and claims, not verified yet. What cannot be ours anyhow is refused before the provider is asked."""
        from joserfc import jws
        from joserfc.errors import JoseError

        try:
            read = jws.extract_compact(text.encode(), registry=self._registry)
            header, payload = read.headers(), json.loads(read.payload)
        except (JoseError, ValueError, TypeError, RecursionError):
            raise refusals.malformed() from None
        if not isinstance(payload, dict):
            raise refusals.malformed()
        if not isinstance(header.get("alg"), str) or header["alg"] not in ALGORITHMS:
            raise refusals.algorithm()
        kid = header.get("kid")
        if "crit" in header or not (kid is None or (isinstance(kid, str) and len(kid) <= _KID)):
            raise refusals.malformed()
        if payload.get("iss") != self._settings.issuer:
            raise refusals.wrong_issuer()
        return header, payload

    def _is_signed_by(self, text: str, key: Any, algorithm: str) -> bool:
        from joserfc import jws
        from joserfc.errors import JoseError

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # RFC 9864 renames EdDSA; providers go on writing the old name
            try:
                jws.deserialize_compact(text, key, algorithms=[algorithm], registry=self._registry)
            except (JoseError, ValueError, TypeError):
                return False
        return True

    @cached_property
    def _registry(self) -> Any:
        from joserfc.jws import JWSRegistry

        registry = JWSRegistry(algorithms=sorted(ALGORITHMS), strict_check_header=False)
        registry.max_header_length = registry.max_payload_length = registry.max_signature_length = _LONGEST
        return registry

    def _remember(self, digest: bytes, identity: Identity) -> _Verified:
        verified = self._verified[digest] = _Verified(identity, self._clock.monotonic() + VERIFIED_SECONDS)
        self._verified.move_to_end(digest)
        while len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)
        return verified

    def _check_not_over(self, identity: Identity) -> None:
        ends = identity.expires_at
        if ends is not None and self._clock.now() >= ends + timedelta(seconds=self._settings.leeway):
            raise refusals.expired()
