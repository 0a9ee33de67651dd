"""One gRPC interceptor that runs every layer, built once per method and cached.

A grpc.aio interceptor is asked again for each rpc; composing there would cost every call. The composed handler
is kept per method as long as gRPC hands out the same inner handler.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc

from interlock.common.interceptors.base import Layer, Rpc
from interlock.common.interceptors.codec import Codec


class Chain(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Applies `outer` layers to the raw bytes, then the codec, then `inner` layers to messages."""

    def __init__(self, outer: Sequence[Layer], codec: Codec, inner: Sequence[Layer]) -> None:
        self._outer = tuple(outer)
        self._codec = codec
        self._inner = tuple(inner)
        self._built: dict[str, tuple[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The composed handler of the method; None when there is no such method (UNIMPLEMENTED)."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        path = handler_call_details.method
        built = self._built.get(path)
        if built is None or built[0] is not handler:
            built = self._built[path] = (handler, self._build(path, handler))
        return built[1]

    def _build(self, path: str, handler: Any) -> Any:
        rpc = Rpc(path, bool(handler.request_streaming), bool(handler.response_streaming))
        call = self._codec.innermost(rpc, handler)
        for layer in reversed(self._inner):
            call = layer.wrap(rpc, call)
        call = self._codec.wrap_messages(rpc, handler, call)
        for layer in reversed(self._outer):
            call = layer.wrap(rpc, call)
        make = _MAKERS[rpc.request_streaming, rpc.response_streaming]
        # No (de)serializers: the codec works on bytes, where sizes and malformed messages get typed errors.
        return make(_as_coroutine_function(call))


_MAKERS: dict[tuple[bool, bool], Callable[..., Any]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def _as_coroutine_function(call: Any) -> Any:
    async def handle(request: Any, context: Any) -> Any:
        return await call(request, context)

    return handle
