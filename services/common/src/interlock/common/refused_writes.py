"""Calls that write a stream: why one ended is what the server said, also when a write met the end first.

gRPC's client takes a write that fails for an error of its own: the call ends as INTERNAL, and the status that the
server had sent by then (a refusal, as a rule: it comes while the first message is on its way) is thrown away. A
half-close that fails cancels the call in the same way. Here both are left to the status, which every call gets.
"""

from __future__ import annotations

import contextlib
from typing import Any

from grpc._cython import cygrpc  # type: ignore[attr-defined]  # not in the stubs


def status_decides(call: Any) -> Any:
    """The same call of `grpc.aio`, whose failed writes raise what the server ended it with."""
    # The one place where grpc.aio makes up its mind; it has no public name for it.
    call._cython_call = _Handle(call._cython_call)  # noqa: SLF001
    return call


class _Handle:
    """gRPC's handle of a call, but for what it makes of failed writes."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.send_serialized_message = inner.send_serialized_message
        self.receive_serialized_message = inner.receive_serialized_message

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def set_internal_error(self, text: str) -> None:
        """The status says why: `grpc.aio` waits for it right after this."""

    async def send_receive_close(self) -> None:
        """Nobody is there any more to be told that nothing more comes."""
        with contextlib.suppress(cygrpc.InternalError):
            await self._inner.send_receive_close()
