"""No rpc without a known caller, except health and reflection."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from interlock.common import tasks
from interlock.common.access.peers import confined
from interlock.common.auth import Authenticator
from interlock.common.clock import Clock
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity, set_identity
from interlock.common.interceptors.base import Call, Rpc, metadata_of
from interlock.common.tls import peer_names

RECHECK_SECONDS: Final = 10.0


class Authentication:
    """Sets the identity of the call, or refuses it before the first message is read.

    A stream can outlive its caller's token, so the caller of one is looked at again every `recheck_seconds`. With
    `certificates` callers have one, and are confined to what it is for.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        clock: Clock,
        recheck_seconds: float = RECHECK_SECONDS,
        *,
        certificates: bool = False,
    ) -> None:
        self._authenticator = authenticator
        self._clock = clock
        self._recheck_seconds = recheck_seconds
        self._certificates = certificates

    def wrap(self, rpc: Rpc, proceed: Call) -> Call:
        """Adds the check around a call."""
        if rpc.is_infrastructure:
            return proceed
        authenticate, certificates = self._authenticator.authenticate, self._certificates

        async def call(request: Any, context: Any) -> Any:
            metadata = metadata_of(context)
            identity = await authenticate(metadata)
            if certificates:
                identity = confined(identity, metadata, peer_names(context))
            set_identity(identity)
            if identity.authentication == "shared" or not (rpc.response_streaming or rpc.request_streaming):
                return await proceed(request, context)
            return await self._watched(proceed, request, context, metadata, identity)

        return call

    async def _watched(
        self, proceed: Call, request: Any, context: Any, metadata: dict[str, str], identity: Identity
    ) -> Any:
        stream = asyncio.create_task(_as_coroutine(proceed, request, context))
        try:
            while not (await asyncio.wait((stream,), timeout=self._recheck_seconds))[0]:
                await self._check(metadata, identity)
            return stream.result()
        finally:
            if not stream.done():
                await tasks.stop(stream)
            elif not stream.cancelled():
                stream.exception()  # heard also where the caller went away in the moment in which it failed

    async def _check(self, metadata: dict[str, str], identity: Identity) -> None:
        try:
            now = await self._authenticator.authenticate(metadata)
        except InterlockError as error:
            if error.reason is not Reason.UNAVAILABLE or _is_over(identity, self._clock.now()):
                raise
            return  # nobody can tell at present
        if now != replace(identity, expires_at=now.expires_at):
            raise InterlockError(
                Reason.UNAUTHENTICATED,
                "What the call's token allows has changed.",
                fix="Open the stream again.",
            )


def _is_over(identity: Identity, now: datetime) -> bool:
    return identity.expires_at is not None and identity.expires_at <= now


async def _as_coroutine(proceed: Call, request: Any, context: Any) -> Any:
    return await proceed(request, context)
