"""Channels to other services: token, trace context, deadlines, keepalive, and typed errors.

gRPC's client interceptors turn each call into extra tasks and queues; this channel adds its metadata where the
call is made instead, so that a stream costs what a bare one costs. Generated stubs take it like any channel.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import grpc

from interlock.common import telemetry
from interlock.common.addresses import Address
from interlock.common.interceptors.codec import TRANSPORT_SLACK
from interlock.common.refused_writes import status_decides
from interlock.common.status import error_from_rpc
from interlock.common.tls import TlsFiles, channel_credentials, from_env, target

__all__ = ["NO_DEADLINE", "Channel", "channel", "error_from_rpc", "rpc_errors"]

NO_DEADLINE: Final = float("inf")
"""Pass as `timeout` to a unary call that may take as long as it likes."""

_Metadata = tuple[tuple[str, str], ...]


def channel(
    address: Address | str,
    token: str = "",
    *,
    timeout: float = 30.0,
    max_message_bytes: int = 16 * 1024 * 1024,
    retry: Sequence[str] = (),
    metadata: Sequence[tuple[str, str]] = (),
    service: str = "",
    tls: TlsFiles | None = None,
) -> Channel:
    """Open a channel; it connects at the first call, and again after failures.

    Args:
        address: as `parse_address` reads it.
        token: sent as bearer token with every call when not empty.
        timeout: deadline in seconds of calls with one response that name none. Streams have none by default.
        max_message_bytes: largest message in either direction.
        retry: services or methods (`interlock.v1.Orchestrator`, `interlock.v1.Orchestrator/GetRun`) whose calls
            are repeated up to three times on UNAVAILABLE; only idempotent ones (every mutation with a
            `request_id` is).
        metadata: sent with every call, for example `x-interlock-subject`.
        service: the service that is meant. With TLS, only one with its certificate is talked to; without a name, the
            certificate has to be for the address.
        tls: by default the files that the environment names; without any, and on a unix socket, in the clear. Raises
            INVALID_ARGUMENT when they cannot be used.
    """
    options = _options(max_message_bytes, retry)
    files = tls or from_env()
    if files is None or str(address).startswith("unix:"):
        inner = grpc.aio.insecure_channel(str(address), options)
    else:
        inner = grpc.aio.secure_channel(
            str(address), channel_credentials(files), [*options, *target(service)]
        )
    fixed = ((("authorization", f"Bearer {token}"),) if token else ()) + tuple(metadata)
    return Channel(inner, fixed, timeout)


@contextmanager
def rpc_errors(service: str = "service") -> Iterator[None]:
    """Turn a failed call in the block into the InterlockError behind it; `service` names the other side."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error, service) from None


class Channel(grpc.aio.Channel):
    """A grpc.aio channel that adds fixed metadata, the current `traceparent`, and default deadlines."""

    def __init__(self, inner: grpc.aio.Channel, metadata: _Metadata, timeout: float) -> None:
        self._inner = inner
        self._metadata = metadata
        self._timeout = timeout

    async def __aenter__(self) -> Channel:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._inner.__aexit__(*exc)

    async def close(self, grace: float | None = None) -> None:
        """Close; calls under way get `grace` seconds, or end at once."""
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """The connection's state; optionally start connecting."""
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the state is another one."""
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until connected; bound it with `asyncio.timeout`."""
        await self._inner.channel_ready()

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """One request, one response; has the default deadline."""
        return self._wrapped(self._inner.unary_unary(*args, **kwargs), self._timeout)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """One request, a stream of responses; no default deadline."""
        return self._wrapped(self._inner.unary_stream(*args, **kwargs), None)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """A stream of requests, one response; has the default deadline."""
        return self._wrapped(self._inner.stream_unary(*args, **kwargs), self._timeout, status_decides)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Streams both ways; no default deadline."""
        return self._wrapped(self._inner.stream_stream(*args, **kwargs), None, status_decides)

    def _wrapped(self, call: Any, default: float | None, finish: Callable[[Any], Any] | None = None) -> Any:
        fixed = self._metadata

        def invoke(
            request: Any = None,
            timeout: float | None = None,
            metadata: Sequence[tuple[str, str]] | None = None,
            **kwargs: Any,
        ) -> Any:
            deadline = default if timeout is None else timeout
            made = call(
                request,
                timeout=None if deadline == NO_DEADLINE else deadline,
                metadata=_merged(fixed, metadata),
                **kwargs,
            )
            return made if finish is None else finish(made)

        return invoke


def _merged(fixed: _Metadata, given: Sequence[tuple[str, str]] | None) -> _Metadata:
    merged = fixed if not given else fixed + tuple(given)
    traceparent = telemetry.inject()
    return (*merged, (telemetry.TRACEPARENT, traceparent)) if traceparent else merged


def _options(max_message_bytes: int, retry: Sequence[str]) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", max_message_bytes + TRANSPORT_SLACK),
        ("grpc.max_send_message_length", max_message_bytes + TRANSPORT_SLACK),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        # Errors may carry a rich status of several KiB.
        ("grpc.max_metadata_size", 32 * 1024),
    ]
    if retry:
        options.append(("grpc.service_config", json.dumps(_retry_config(retry))))
    return options


def _retry_config(methods: Sequence[str]) -> dict[str, Any]:
    names = []
    for entry in methods:
        service, _, method = entry.partition("/")
        names.append({"service": service, "method": method} if method else {"service": service})
    policy = {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return {"methodConfig": [{"name": names, "retryPolicy": policy}]}
