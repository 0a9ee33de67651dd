"""OpenTelemetry traces and metrics, configured by the standard OTEL_* variables.

Nothing is exported unless OTEL_EXPORTER_OTLP_ENDPOINT (or its TRACES or METRICS variant) is set and
OTEL_SDK_DISABLED is not true. Trace context still passes through every call then, at almost no cost, so that a
caller's own trace is not broken. Samplers, headers, limits and timeouts are read by the SDK itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.trace import Span, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from interlock.common.config import env_bool, env_text

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

_INSTRUMENTATION: Final = "interlock"
_FLUSH_MILLIS: Final = 5000
_W3C: Final = TraceContextTextMapPropagator()

TRACEPARENT: Final = "traceparent"
_USUAL_CHARS: Final = 55


class Telemetry:
    """The process's exporters. One per process, made by `setup`."""

    def __init__(self, service_name: str) -> None:
        self.tracing = _wanted("TRACES")
        self.measuring = _wanted("METRICS")
        self._tracers = _tracers(_resource(service_name)) if self.tracing else None
        self._meters = _meters(_resource(service_name)) if self.measuring else None

    def tracer(self) -> Tracer:
        """Spans of this process; without exporters, spans that only pass their parent's context on."""
        provider = self._tracers or trace.NoOpTracerProvider()
        return provider.get_tracer(_INSTRUMENTATION)

    def meter(self) -> metrics.Meter:
        """Instruments of this process; without exporters they do nothing."""
        provider = self._meters or metrics.NoOpMeterProvider()
        return provider.get_meter(_INSTRUMENTATION)

    def shutdown(self) -> None:
        """Send what is waiting, at most five seconds each, and stop the exporters' threads. Blocks."""
        if self._tracers is not None:
            self._tracers.force_flush(_FLUSH_MILLIS)
            self._tracers.shutdown()
        if self._meters is not None:
            self._meters.shutdown(_FLUSH_MILLIS)


_active: Telemetry | None = None
_NO_TRACER: Final = trace.NoOpTracerProvider().get_tracer(_INSTRUMENTATION)
_NO_METER: Final = metrics.NoOpMeterProvider().get_meter(_INSTRUMENTATION)


def setup(service_name: str) -> Telemetry:
    """Start the process's telemetry as `interlock-<svc>`. Call `shutdown()` on the result before exit.

    A second call replaces the first, whose exporters stay the caller's to shut down.
    """
    global _active
    _active = Telemetry(service_name)
    return _active


def enabled() -> bool:
    """Whether spans of this process go anywhere."""
    return _active is not None and _active.tracing


def tracer() -> Tracer:
    """The process's tracer; one that does nothing before `setup`."""
    return _active.tracer() if _active is not None else _NO_TRACER


def meter() -> metrics.Meter:
    """The process's meter; one that does nothing before `setup`."""
    return _active.meter() if _active is not None else _NO_METER


def inject() -> str:
    """The current span as W3C `traceparent` text, to be stored or sent; empty when there is none."""
    found = trace.get_current_span().get_span_context()
    if not found.is_valid:
        return ""
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"


def extract(traceparent: str) -> otel_context.Context:
    """The context a `traceparent` text stands for; one without a parent when the text is empty or malformed."""
    return _known(traceparent) if len(traceparent) <= _USUAL_CHARS else _extracted(traceparent)


def _extracted(traceparent: str) -> otel_context.Context:
    return _W3C.extract({TRACEPARENT: traceparent}, context=otel_context.Context())


_known = lru_cache(maxsize=4096)(_extracted)
"""All steps of a run have the same. A context is never changed."""


@contextmanager
def span(
    name: str,
    *,
    traceparent: str | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, Any] | None = None,
) -> Iterator[Span]:
    """A span around the block, current within it.

    With `traceparent` its parent is that stored text, be it days old; otherwise the current span. An exception
    marks the span as failed by its type alone: texts of exceptions stay in the process.
    """
    parent = None if traceparent is None else extract(traceparent)
    if not enabled():
        with _passing_on(parent):
            yield trace.get_current_span()
        return
    with tracer().start_as_current_span(
        name,
        context=parent,
        kind=kind,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except Exception as error:
            mark_failed(current, error)
            raise


@contextmanager
def _passing_on(parent: otel_context.Context | None) -> Iterator[None]:
    """What a span that goes nowhere comes to: its parent's context is current within the block."""
    if parent is None:
        yield
        return
    token = otel_context.attach(parent)
    try:
        yield
    finally:
        otel_context.detach(token)


def mark_failed(current: Span, error: BaseException) -> None:
    """Set a span's error status and `error.type`: the reason of an InterlockError, else the class's name."""
    reason = getattr(error, "reason", None)
    kind = str(reason) if reason is not None else type(error).__name__
    current.set_attribute("error.type", kind)
    current.set_status(trace.StatusCode.ERROR, kind)


def _wanted(signal: str) -> bool:
    if env_bool("OTEL_SDK_DISABLED", False):
        return False
    if env_text(f"OTEL_{signal}_EXPORTER", "otlp") != "otlp":
        return False
    return bool(env_text("OTEL_EXPORTER_OTLP_ENDPOINT") or env_text(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))


# The SDK is imported only where something is exported: it costs every process a tenth of a second at its start.


def _resource(service_name: str) -> Resource:
    from opentelemetry.sdk.resources import Resource

    return Resource.create({"service.name": service_name, "service.namespace": "interlock"})


def _tracers(resource: Resource) -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _meters(resource: Resource) -> MeterProvider:
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    return MeterProvider([reader], resource=resource, shutdown_on_exit=False)
