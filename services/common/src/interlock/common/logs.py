"""Structured logs: one JSON object a line on stderr, with the ids of what is being worked on.

Keys: `time` (RFC 3339 UTC), `level`, `service`, `component`, `event`, what the call gives, and the context: `run_id`,
`step`, `request_id`, `trace_id`, `span_id`. INTERLOCK_LOG_LEVEL (debug, info, warning, error) sets the level.
Records of libraries that use `logging` come out in the same form.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final, TextIO, cast

from opentelemetry import trace

from interlock.common.config import bad_variable, env_text
from interlock.common.lean import structlog

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

Event = MutableMapping[str, Any]


def setup(service_name: str, *, stream: TextIO | None = None, level: str | None = None) -> None:
    """Configure logging for the process. Raises InterlockError when INTERLOCK_LOG_LEVEL is not a level."""
    name = (level or env_text("INTERLOCK_LOG_LEVEL", "info")).lower()
    if name not in _LEVELS:
        raise bad_variable("INTERLOCK_LOG_LEVEL", name, "one of " + ", ".join(_LEVELS))
    output = sys.stderr if stream is None else stream
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _add_service(service_name),
        _add_trace,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    renderer: list[Any] = [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(default=str),
        _clean,
    ]
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[name]),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=False,
    )
    _take_over_stdlib(output, shared, renderer, _LEVELS[name])


_cleaner: Callable[[str], str] | None = None


def clean_with(cleaner: Callable[[str], str]) -> None:
    """Have every line, as it would be written, pass through `cleaner` first. One per process; the last one counts."""
    global _cleaner
    _cleaner = cleaner


def _clean(_logger: object, _method: str, line: str) -> str:
    return line if _cleaner is None else _cleaner(line)


class _Stderr:
    """Whatever `sys.stderr` is when a line is written."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _be_quiet() -> None:
    """Before `setup` (in a program that only uses the SDK): warnings on stderr, and never a word on stdout."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _Stderr())),
    )


if not structlog.is_configured():
    _be_quiet()


def get(name: str) -> Any:
    """A logger whose lines carry `component=<name>`. May be called at import time, before `setup`."""
    return structlog.get_logger(component=name)


@contextmanager
def bound(**values: object) -> Iterator[None]:
    """Add ids (`run_id=…`, `step=…`) to every line logged by this task within the block."""
    with structlog.contextvars.bound_contextvars(**values):
        yield


def bind(**values: object) -> None:
    """Add ids to every line this task logs from now on; an rpc's task ends with the rpc."""
    structlog.contextvars.bind_contextvars(**values)


def _add_service(service_name: str) -> Any:
    def add(_logger: object, _method: str, event: Event) -> Event:
        event["service"] = service_name
        return event

    return add


def _add_trace(_logger: object, _method: str, event: Event) -> Event:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format(context.trace_id, "032x")
        event["span_id"] = format(context.span_id, "016x")
    return event


def _take_over_stdlib(output: TextIO, shared: list[Any], renderer: list[Any], level: int) -> None:
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries say at INFO and below what interests their authors.
    root.setLevel(max(level, logging.WARNING) if level != logging.DEBUG else logging.INFO)
