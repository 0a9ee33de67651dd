"""A real OTLP receiver: a gRPC server that implements the collector's TraceService and MetricsService.

    async with receiving() as receiver:
        …start something with OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint…
        spans = await receiver.wait_for(lambda spans: len(spans) >= 2)

Use `receiver.environment()` for a child process's environment.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it arrived; ids are lower-case hex, `parent_id` is empty for a root."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    status: int
    attributes: dict[str, Any] = field(default_factory=dict)


class Receiver:
    """What has arrived so far."""

    def __init__(self) -> None:
        self.spans: list[ReceivedSpan] = []
        self.metrics: list[tuple[str, str]] = []
        """Service and instrument name of each metric."""
        self.endpoint = ""
        self._changed = asyncio.Condition()

    def environment(self) -> dict[str, str]:
        """Variables that make a process export here at once."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
        }

    async def wait_for(
        self, enough: Callable[[list[ReceivedSpan]], bool], seconds: float = 30.0
    ) -> list[ReceivedSpan]:
        """The spans once `enough(spans)` holds. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: enough(self.spans))
        return list(self.spans)

    async def wait_for_metric(self, service: str, name: str, seconds: float = 30.0) -> None:
        """Until a metric of that name has arrived from that service. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: (service, name) in self.metrics)

    async def add(self, spans: list[ReceivedSpan], metrics: list[tuple[str, str]]) -> None:
        async with self._changed:
            self.spans += spans
            self.metrics += metrics
            self._changed.notify_all()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on a free loopback port for the time of the block."""
    receiver = Receiver()
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Traces(receiver), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(_Metrics(receiver), server)
    receiver.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield receiver
    finally:
        await server.stop(None)


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    async def Export(self, request: Any, context: Any) -> Any:
        await self._receiver.add(list(_spans(request)), [])
        return trace_service_pb2.ExportTraceServiceResponse()


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    async def Export(self, request: Any, context: Any) -> Any:
        found = [
            (_attributes(group.resource).get("service.name", ""), metric.name)
            for group in request.resource_metrics
            for scope in group.scope_metrics
            for metric in scope.metrics
        ]
        await self._receiver.add([], found)
        return metrics_service_pb2.ExportMetricsServiceResponse()


def _spans(request: Any) -> Iterator[ReceivedSpan]:
    for group in request.resource_spans:
        service = _attributes(group.resource).get("service.name", "")
        for scope in group.scope_spans:
            for span in scope.spans:
                yield ReceivedSpan(
                    service=service,
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    kind=span.kind,
                    status=span.status.code,
                    attributes=_attributes(span),
                )


def _attributes(holder: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in holder.attributes}
