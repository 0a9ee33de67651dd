"""The tiny local model: SmolLM2-135M-Instruct on this machine, started on demand, no key and no network.

It is small and often wrong. It is there so that planning, analysing and summarising really run anywhere; its output
is constrained to a JSON schema, so that a reply is well-formed even when it is not wise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from interlock.common.errors import Reason
from interlock.planner.gateways.base import (
    Completion,
    CompletionRequest,
    GatewayInfo,
    JsonSchema,
    ModelError,
    Structured,
)
from interlock.planner.gateways.local_process import LocalProcess, LocalSettings, find_weights
from interlock.planner.gateways.openai import Habits, OpenAIGateway
from interlock.planner.gateways.transport import Limits, Transport

T = TypeVar("T")

MODEL = "smollm2-135m-instruct"
NOTICE = f"model={MODEL} (tiny local model: small and often wrong)"
_EXTRA: Mapping[str, Any] = {"seed": 1, "repeat_penalty": 1.06}
# Greedy decoding of text repeats itself in so small a model; in JSON the same penalty would hit its punctuation.
_TEXT_EXTRA: Mapping[str, Any] = {"repeat_penalty": 1.15}

INFO = GatewayInfo(
    name="local",
    kind="local",
    model=MODEL,
    notice=NOTICE,
    max_prompt_chars=6_000,
    max_reply_tokens=1_024,
    dialect="tiny",
    free=True,
)


class LocalGateway:
    """Starts the model's process (by ``launch``) at the first call, and again if it has died; one call at a time."""

    def __init__(
        self,
        settings: LocalSettings | None = None,
        limits: Limits | None = None,
        launch: Callable[[LocalSettings], LocalProcess] = LocalProcess.start,
        info: GatewayInfo = INFO,
    ) -> None:
        self._info = info
        self._settings = settings
        self._launch = launch
        self._limits = limits or Limits(attempts=1)
        self._lock = asyncio.Lock()
        self._process: LocalProcess | None = None
        self._inner: OpenAIGateway | None = None

    @property
    def info(self) -> GatewayInfo:
        return self._info

    async def complete(self, request: CompletionRequest) -> Completion:
        return _free(await self._guarded(request, lambda inner: inner.complete(request)))

    async def structure(self, request: CompletionRequest, schema: JsonSchema) -> Structured:
        structured = await self._guarded(request, lambda inner: inner.structure(request, schema))
        return Structured(structured.data, tuple(_free(reply) for reply in structured.completions))

    async def available(self) -> bool:
        try:
            find_weights()
        except ModelError:
            return False
        return True  # it is started when it is needed

    async def models(self) -> tuple[str, ...]:
        return (MODEL,)

    async def aclose(self) -> None:
        async with self._lock:
            await self._stop()

    async def start(self) -> LocalProcess:
        """Make sure it runs; returns the process."""
        async with self._lock:
            await self._started()
            assert self._process is not None
            return self._process

    async def _guarded(self, request: CompletionRequest, ask: Callable[[OpenAIGateway], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(request.timeout_s), self._lock:
                return await ask(await self._started())
        except TimeoutError:
            message = f"The local model did not answer within {request.timeout_s:.3g} s."
            raise ModelError(Reason.MODEL_TIMEOUT, message) from None
        except ModelError as error:
            if self._process is not None and not self._process.alive:
                raise ModelError(
                    Reason.MODEL_UNAVAILABLE,
                    "The local model's process ended while it was asked; the next call starts it again.",
                ) from None
            error.completions = tuple(_free(reply) for reply in error.completions)
            raise

    async def _started(self) -> OpenAIGateway:
        if self._inner is not None and self._process is not None and self._process.alive:
            return self._inner
        await self._stop()
        settings = self._settings or LocalSettings(find_weights())
        self._process = await _start(self._launch, settings)
        headers = {"authorization": f"Bearer {self._process.key}"}
        # trust_env off: a proxy from the environment must never see a call to this machine
        transport = Transport(self._process.url + "/v1/", headers, self._limits, trust_env=False)
        self._inner = OpenAIGateway(INFO, transport, Habits(extra=_EXTRA, text_extra=_TEXT_EXTRA))
        return self._inner

    async def _stop(self) -> None:
        inner, process = self._inner, self._process
        self._inner = self._process = None
        if inner is not None:
            await inner.aclose()
        if process is not None:
            await asyncio.to_thread(process.stop)


async def _start(launch: Callable[[LocalSettings], LocalProcess], settings: LocalSettings) -> LocalProcess:
    """Start in a thread; when the caller gives up meanwhile, the process that still comes up is stopped."""
    starting = asyncio.ensure_future(asyncio.to_thread(launch, settings))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(_stop_late)
        raise


def _stop_late(starting: asyncio.Future[LocalProcess]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        starting.result().stop(0.0)


def _free(completion: Completion) -> Completion:
    """Running on this machine has no price: the cost is known, and 0. The file's path is no model name."""
    return replace(completion, cost_micros=0, model=MODEL)
