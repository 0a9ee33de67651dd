from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import trace

from interlock.common import telemetry
from interlock.common.errors import InterlockError, Reason

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = int("0af7651916cd43dd8448eb211c80319c", 16)


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    if telemetry._active is not None:
        telemetry._active.shutdown()
    telemetry._active = None


def test_nothing_is_exported_by_default() -> None:
    telemetry.setup("interlock-test")
    assert not telemetry.enabled()
    with telemetry.span("x") as span:
        assert not span.is_recording()
    assert telemetry.inject() == ""


@pytest.mark.parametrize(
    ("environment", "traces", "metrics"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, True, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}, True, False),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:1"}, False, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}, False, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"}, False, True),
    ],
)
def test_standard_variables_decide(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], traces: bool, metrics: bool
) -> None:
    class NoExporter:
        pass

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert telemetry._wanted("TRACES") is traces
    assert telemetry._wanted("METRICS") is metrics


def test_a_context_passes_through_without_exporters() -> None:
    with telemetry.span("x", traceparent=PARENT):
        assert telemetry.inject() == PARENT


def test_stored_text_is_a_parent() -> None:
    context = trace.get_current_span(telemetry.extract(PARENT)).get_span_context()
    assert context.trace_id == TRACE
    assert context.is_remote


@pytest.mark.parametrize("text", ["", "garbage", PARENT[:-1], "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "é"])
def test_malformed_text_is_no_parent(text: str) -> None:
    assert not trace.get_current_span(telemetry.extract(text)).get_span_context().is_valid


def test_empty_text_starts_anew_even_inside_a_span() -> None:
    with telemetry.span("outer", traceparent=PARENT), telemetry.span("inner", traceparent=""):
        assert telemetry.inject() == ""


def test_exceptions_pass_through_spans() -> None:
    with pytest.raises(InterlockError), telemetry.span("x"):
        raise InterlockError(Reason.RUN_NOT_FOUND, "no")
