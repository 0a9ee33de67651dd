"""The orchestrator's Access service, as the other services use it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from interlock.common.access import convert
from interlock.common.access.denials import Denial
from interlock.common.client import Channel, rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity
from interlock.v1 import access_pb2 as pb
from interlock.v1 import access_pb2_grpc

_SECONDS = 5.0


class RemoteAccess:
    """Asks whose a token is and hands on refusals, with the service's own token."""

    def __init__(self, channel: Channel) -> None:
        self._stub = cast(Any, access_pb2_grpc.AccessStub(channel))

    async def lookup(self, token_id: str, digest: bytes) -> Identity | None:
        """Whose it is; None where it is not accepted. Raises UNAVAILABLE when the orchestrator is not there."""
        request = pb.IntrospectRequest(token_id=token_id, digest=digest)
        try:
            with rpc_errors("orchestrator"):
                response = await self._stub.Introspect(request, timeout=_SECONDS)
        except InterlockError as error:
            if error.reason is Reason.TOKEN_NOT_FOUND:
                return None
            raise _cannot_tell(error) from None
        return convert.identity(response.caller)

    async def write(self, batch: Sequence[tuple[Denial, int]]) -> None:
        """Hands on refusals. Raises InterlockError."""
        request = pb.RecordDenialsRequest(denials=[convert.denial(entry, count) for entry, count in batch])
        with rpc_errors("orchestrator"):
            await self._stub.RecordDenials(request, timeout=_SECONDS)


def _cannot_tell(error: InterlockError) -> InterlockError:
    return InterlockError(
        Reason.UNAVAILABLE,
        f"Whose token this is cannot be told now: {error}",
        fix="Try again when the orchestrator is reached.",
    )
