"""Spans and metrics of model calls by OpenTelemetry's GenAI semantic conventions. Prompts and replies stay out.

https://opentelemetry.io/docs/specs/semconv/gen-ai/
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.trace import SpanKind

from interlock.common import telemetry
from interlock.planner.gateways.base import (
    Completion,
    CompletionRequest,
    Gateway,
    GatewayInfo,
    JsonSchema,
    ModelError,
    Structured,
)

_PROVIDERS = {"openai": "openai", "local": "llama.cpp", "router": "smart_model_router"}
_PORTS = {"http": 80, "https": 443}


class TracedGateway:
    """A gateway whose calls are spans ``chat <model>``, and counted in ``gen_ai.client.*``."""

    def __init__(self, inner: Gateway, now: Callable[[], float] = time.monotonic) -> None:
        self._inner = inner
        self._now = now
        meter = telemetry.meter()
        self._duration = meter.create_histogram("gen_ai.client.operation.duration", unit="s")
        self._tokens = meter.create_histogram("gen_ai.client.token.usage", unit="{token}")

    @property
    def info(self) -> GatewayInfo:
        return self._inner.info

    async def complete(self, request: CompletionRequest) -> Completion:
        with self._span(request, "text") as report:
            completion = await self._inner.complete(request)
            report((completion,))
            return completion

    async def structure(self, request: CompletionRequest, schema: JsonSchema) -> Structured:
        with self._span(request, "json") as report:
            structured = await self._inner.structure(request, schema)
            report(structured.completions)
            return structured

    async def available(self) -> bool:
        return await self._inner.available()

    async def models(self) -> tuple[str, ...]:
        return await self._inner.models()

    async def aclose(self) -> None:
        await self._inner.aclose()

    @contextmanager
    def _span(
        self, request: CompletionRequest, output: str
    ) -> Iterator[Callable[[tuple[Completion, ...]], None]]:
        common = self._attributes()
        asked = {"gen_ai.request.max_tokens": request.max_tokens, "gen_ai.output.type": output}
        started = self._now()
        outcome: dict[str, Any] = {}
        name = f"chat {self.info.model}".strip()
        try:
            with telemetry.span(name, kind=SpanKind.CLIENT, attributes={**common, **asked}) as span:

                def report(completions: tuple[Completion, ...]) -> None:
                    span.set_attributes(_outcome(completions))
                    self._count(completions, common)

                try:
                    yield report
                except ModelError as error:
                    report(error.completions)
                    raise
        except ModelError as error:
            outcome["error.type"] = error.reason.value
            raise
        finally:
            self._duration.record(self._now() - started, {**common, **outcome})

    def _attributes(self) -> dict[str, Any]:
        info = self.info
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": _PROVIDERS.get(info.kind, info.kind or info.name),
            "gen_ai.request.model": info.model,
            "interlock.gateway": info.name,
        }
        if info.base_url:
            parts = urlsplit(info.base_url)
            attributes["server.address"] = parts.hostname or ""
            attributes["server.port"] = parts.port or _PORTS.get(parts.scheme, 0)
        return attributes

    def _count(self, completions: tuple[Completion, ...], common: dict[str, Any]) -> None:
        for kind, name in (("input", "prompt_tokens"), ("output", "completion_tokens")):
            if (total := _sum(completions, name)) is not None:
                self._tokens.record(total, {**common, "gen_ai.token.type": kind})


def _outcome(completions: tuple[Completion, ...]) -> dict[str, Any]:
    """What the replies say of themselves; nothing that they do not say."""
    if not completions:
        return {}
    last = completions[-1]
    found: dict[str, Any] = {
        "gen_ai.response.model": last.model,
        "gen_ai.response.finish_reasons": [last.finish_reason] if last.finish_reason else None,
        "gen_ai.usage.input_tokens": _sum(completions, "prompt_tokens"),
        "gen_ai.usage.output_tokens": _sum(completions, "completion_tokens"),
        "interlock.cost_micros": _sum(completions, "cost_micros"),
        "interlock.cache_hit": last.cache_hit,
    }
    return {name: value for name, value in found.items() if value is not None}


def _sum(completions: tuple[Completion, ...], name: str) -> int | None:
    known = [value for reply in completions if (value := getattr(reply, name)) is not None]
    return sum(known) if known else None
