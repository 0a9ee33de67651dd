"""What a server checks callers with: put together here, once for every service."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from interlock.common.access.denials import Denial, DenialLog, Sink, Write
from interlock.common.access.issued import IssuedTokens, Lookup
from interlock.common.access.oidc import settings
from interlock.common.access.oidc.tokens import OidcTokens, is_signed_token
from interlock.common.access.remote import RemoteAccess
from interlock.common.auth import ISSUED, Authenticator, TokenAuthenticator, bearer
from interlock.common.client import Channel
from interlock.common.clock import Clock
from interlock.common.identity import Identity


class _Nowhere:
    def note(self, denial: Denial) -> None:
        """Refusals of a server without a record are in its log only."""


NOWHERE: Final[Sink] = _Nowhere()


class ByForm:
    """Chooses the authenticator by what the token looks like: an issued one, a provider's, or else the shared one."""

    def __init__(self, shared: Authenticator, issued: Authenticator, oidc: Authenticator | None) -> None:
        self._shared = shared
        self._issued = issued
        self._oidc = oidc

    async def authenticate(self, metadata: Mapping[str, str]) -> Identity:
        """The caller."""
        return await self._chosen(bearer(metadata)).authenticate(metadata)

    def _chosen(self, token: str) -> Authenticator:
        if token.startswith(ISSUED):
            return self._issued
        if self._oidc is not None and is_signed_token(token):
            return self._oidc
        return self._shared


@dataclass(frozen=True)
class Guard:
    """Tells callers apart, and where refusals go."""

    authenticator: Authenticator
    denials: Sink = NOWHERE


def shared_only(tokens: str | Sequence[str]) -> Guard:
    """Accepts the shared tokens only."""
    return Guard(_shared(tokens))


@contextlib.asynccontextmanager
async def asking(orchestrator: Channel, tokens: str | Sequence[str], clock: Clock) -> AsyncIterator[Guard]:
    """A guard that accepts the shared tokens, and every issued one by asking the orchestrator."""
    access = RemoteAccess(orchestrator)
    async with guarding(tokens, access.lookup, access.write, clock) as guard:
        yield guard


@contextlib.asynccontextmanager
async def guarding(
    tokens: str | Sequence[str], lookup: Lookup, write: Write, clock: Clock
) -> AsyncIterator[Guard]:
    """A guard that accepts the shared tokens, the issued ones that `lookup` knows, and those of the OpenID provider
    that the environment names; refusals go to `write`. Raises INVALID_ARGUMENT naming the variable at fault."""
    provider = settings.from_env()
    oidc = OidcTokens(provider, clock) if provider else None
    log = DenialLog(write, clock)
    log.start()
    try:
        yield Guard(ByForm(_shared(tokens), IssuedTokens(lookup, clock), oidc), log)
    finally:
        await log.close()
        if oidc is not None:
            await oidc.close()


def _shared(tokens: str | Sequence[str]) -> Authenticator:
    return TokenAuthenticator([tokens] if isinstance(tokens, str) else list(tokens))
