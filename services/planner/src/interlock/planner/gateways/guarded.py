"""A gateway behind a circuit breaker and a limit of calls at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from interlock.common.clock import Clock
from interlock.common.errors import Reason
from interlock.planner.domain import breaker as state
from interlock.planner.domain.breaker import Breaker
from interlock.planner.gateways.base import (
    Completion,
    CompletionRequest,
    Gateway,
    GatewayInfo,
    JsonSchema,
    ModelError,
    Structured,
)

_BROKEN = frozenset({Reason.MODEL_UNAVAILABLE, Reason.MODEL_TIMEOUT})
"""Failures that say that the server does not work; others are answers."""


@dataclass(frozen=True, slots=True)
class Standing:
    """``failures`` in a row, seconds for which it is not asked (None: it may be), calls under way, and most of them."""

    failures: int = 0
    refused_for_s: float | None = None
    under_way: int = 0
    concurrency: int = 0


class GuardedGateway:
    """Refuses calls while the gateway is known to fail, and has at most ``concurrency`` under way."""

    def __init__(
        self, inner: Gateway, clock: Clock, *, concurrency: int = 8, breaker: Breaker | None = None
    ) -> None:
        self._inner = inner
        self._clock = clock
        self._concurrency = concurrency
        self._under_way = 0
        self._places = asyncio.Semaphore(concurrency)
        self.breaker = breaker or Breaker()

    @property
    def info(self) -> GatewayInfo:
        return self._inner.info

    def standing(self) -> Standing:
        """How it stands just now."""
        wait = state.refused_for(self.breaker, self._clock.monotonic())
        return Standing(self.breaker.failures, wait, self._under_way, self._concurrency)

    async def complete(self, request: CompletionRequest) -> Completion:
        async with self._guarded(request):
            return await self._inner.complete(request)

    async def structure(self, request: CompletionRequest, schema: JsonSchema) -> Structured:
        async with self._guarded(request):
            return await self._inner.structure(request, schema)

    async def available(self) -> bool:
        return await self._inner.available()

    async def models(self) -> tuple[str, ...]:
        return await self._inner.models()

    async def aclose(self) -> None:
        await self._inner.aclose()

    @asynccontextmanager
    async def _guarded(self, request: CompletionRequest) -> AsyncIterator[None]:
        try:
            await asyncio.wait_for(self._places.acquire(), request.timeout_s)
        except TimeoutError:
            message = f"The gateway {self.info.name} had no free place within {request.timeout_s:.3g} s."
            raise ModelError(Reason.MODEL_TIMEOUT, message) from None
        self._under_way += 1
        try:
            self._begin()
            try:
                yield
            except ModelError as error:
                broken = error.reason in _BROKEN and not error.completions
                now = self._clock.monotonic()
                self.breaker = state.failed(self.breaker, now) if broken else state.succeeded(self.breaker)
                raise
            except BaseException:
                self.breaker = state.given_up(self.breaker)
                raise
            self.breaker = state.succeeded(self.breaker)
        finally:
            self._under_way -= 1
            self._places.release()

    def _begin(self) -> None:
        now = self._clock.monotonic()
        wait = state.refused_for(self.breaker, now)
        if wait is not None:
            raise ModelError(
                Reason.MODEL_UNAVAILABLE,
                f"The gateway {self.info.name} failed {self.breaker.failures} times in a row; it is not asked for now.",
                fix="Look at the model's server; the gateway is tried again by itself.",
                retry_after=wait,
            )
        self.breaker = state.begun(self.breaker, now)
