"""What a server checks callers with: put together here, once for every service."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from interlock.common.access.denials import Denial, DenialLog, Sink, Write
from interlock.common.access.issued import IssuedTokens, Lookup
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
    """Chooses the authenticator by what the token looks like: an issued one, or else the shared one."""

    def __init__(self, shared: Authenticator, issued: Authenticator) -> None:
        self._shared = shared
        self._issued = issued

    async def authenticate(self, metadata: Mapping[str, str]) -> Identity:
        """The caller."""
        chosen = self._issued if bearer(metadata).startswith(ISSUED) else self._shared
        return await chosen.authenticate(metadata)


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
    """A guard that accepts the shared tokens and the issued ones that `lookup` knows; refusals go to `write`."""
    log = DenialLog(write, clock)
    log.start()
    try:
        yield Guard(ByForm(_shared(tokens), IssuedTokens(lookup, clock)), log)
    finally:
        await log.close()


def _shared(tokens: str | Sequence[str]) -> Authenticator:
    return TokenAuthenticator([tokens] if isinstance(tokens, str) else list(tokens))
