"""A server span per rpc, child of the caller's `traceparent`, and a duration measurement.

Hot streams are left out by configuration: their spans would be as long as the process. While nothing is
exported no span is made; a caller's context is still passed on to calls made while handling this one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from typing import Any

import grpc
from opentelemetry import context as otel_context
from opentelemetry.trace import Span, SpanKind, StatusCode

from interlock.common import telemetry
from interlock.common.interceptors.access_log import current_reason
from interlock.common.interceptors.base import Call, Rpc


class Tracing:
    """Spans named `interlock.v1.Service/Method`. `skip` holds such names that get none."""

    def __init__(self, skip: Collection[str] = ()) -> None:
        self._skip = frozenset(skip)

    def wrap(self, rpc: Rpc, proceed: Call) -> Call:
        """Adds the span around a call."""
        if rpc.is_infrastructure or rpc.name in self._skip:
            return proceed
        # Asked once: telemetry is set up before the server is built.
        return _traced(rpc, proceed) if telemetry.enabled() else _passed_on(proceed)


def _traced(rpc: Rpc, proceed: Call) -> Call:
    tracer = telemetry.tracer()
    attributes = {"rpc.system": "grpc", "rpc.service": rpc.service, "rpc.method": rpc.method}
    duration = telemetry.meter().create_histogram(
        "rpc.server.duration", unit="ms", description="Time from the first byte of a call to its status."
    )

    async def call(request: Any, context: Any) -> Any:
        parent = telemetry.extract(_traceparent(context))
        started = time.perf_counter()
        code = "UNKNOWN"
        with tracer.start_as_current_span(
            rpc.name,
            context=parent,
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                response = await proceed(request, context)
                code = "OK"
                return response
            except asyncio.CancelledError:
                code = "CANCELLED"
                raise
            except grpc.aio.AbortError:
                code = _failed(span, context)
                raise
            finally:
                span.set_attribute("rpc.grpc.status_code", grpc.StatusCode[code].value[0])
                elapsed = (time.perf_counter() - started) * 1000
                duration.record(elapsed, {**attributes, "rpc.grpc.status_code": code})

    return call


def _passed_on(proceed: Call) -> Call:
    async def call(request: Any, context: Any) -> Any:
        traceparent = _traceparent(context)
        if not traceparent:
            return await proceed(request, context)
        token = otel_context.attach(telemetry.extract(traceparent))
        try:
            return await proceed(request, context)
        finally:
            otel_context.detach(token)

    return call


def _failed(span: Span, context: Any) -> str:
    number = context.code()
    code = next((c for c in grpc.StatusCode if number in (c, c.value[0])), grpc.StatusCode.UNKNOWN)
    reason = current_reason() or code.name
    span.set_attribute("error.type", reason)
    # OpenTelemetry's rule for servers: a caller's mistake is not the server's error.
    if code in _SERVER_FAULTS:
        span.set_status(StatusCode.ERROR, reason)
    return code.name


_SERVER_FAULTS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


def _traceparent(context: Any) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == telemetry.TRACEPARENT and isinstance(value, str):
            return value
    return ""
