"""A gateway that answers from recorded replies only. Nothing here can reach a model."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx

from interlock.common.digests import sha256_text
from interlock.common.errors import Reason
from interlock.planner.domain.model import Exchange
from interlock.planner.domain.recorded import first_difference, nearest
from interlock.planner.gateways import openai, router
from interlock.planner.gateways.base import (
    NO_REPLY,
    Completion,
    CompletionRequest,
    GatewayInfo,
    JsonSchema,
    ModelError,
    Structured,
)
from interlock.planner.gateways.canonical import canonical
from interlock.planner.gateways.replies import NotJson, find_json, read_object
from interlock.planner.gateways.transport import HttpReply

_FIX = (
    "Replay on the tree that the recorded run began with, with the same goal and steps, or ask models: without "
    "--replay-from."
)


@dataclass(frozen=True, slots=True)
class Record:
    """Exchanges that may answer, in the order in which they were made, and where they come from."""

    origin: str
    exchanges: tuple[Exchange, ...]


def gateways(record: Record, purposes: Iterable[str]) -> list[RecordedGateway]:
    """One gateway for each that the record's exchanges of these purposes went through, in their order."""
    wanted = set(purposes)
    found: dict[GatewayInfo, list[Exchange]] = {}
    for exchange in record.exchanges:
        if exchange.purpose in wanted and exchange.request:
            found.setdefault(_info(exchange), []).append(exchange)
    if not found:
        return [RecordedGateway(GatewayInfo("recorded", ""), record.origin, ())]
    return [RecordedGateway(info, record.origin, exchanges) for info, exchanges in found.items()]


class RecordedGateway:
    """Answers a request with the reply that was recorded for it; the same request again, with the next such reply."""

    def __init__(self, info: GatewayInfo, origin: str, exchanges: Sequence[Exchange]) -> None:
        self._info = info
        self._origin = origin
        self._exchanges = exchanges
        self._left: dict[bytes, deque[Exchange]] = {}
        for exchange in exchanges:
            self._left.setdefault(exchange.request, deque()).append(exchange)

    @property
    def info(self) -> GatewayInfo:
        return self._info

    async def complete(self, request: CompletionRequest) -> Completion:
        exchange = self._find(canonical(request, None, self._info))
        _, completion = _read(exchange)
        return completion

    async def structure(self, request: CompletionRequest, schema: JsonSchema) -> Structured:
        exchange = self._find(canonical(request, schema, self._info))
        data, completion = _read(exchange)
        if data is None:
            data = _json(completion)
        return Structured(data, (completion,))

    async def available(self) -> bool:
        return True

    async def models(self) -> tuple[str, ...]:
        return (self._info.model,) if self._info.model else ()

    async def aclose(self) -> None:
        """Nothing is open."""

    def _find(self, asked: bytes) -> Exchange:
        left = self._left.get(asked)
        if not left:
            raise self._missing(asked)
        found = left.popleft() if len(left) > 1 else left[0]
        if found.finish_reason.startswith(NO_REPLY):
            raise _lost(found)
        return found

    def _missing(self, asked: bytes) -> ModelError:
        request = read_object(asked)
        known = [read_object(each.request) for each in self._exchanges]
        at = nearest(known, request)
        digest = sha256_text(asked)
        metadata = {"request_digest": digest, "purpose": str(request["purpose"]), "record": self._origin}
        message = (
            f"The record of {self._origin} has no reply to this request ({request['purpose']}, {digest})"
        )
        if at is None:
            said = f"{message}; it has none for this purpose."
            return ModelError(Reason.MODEL_REPLY_NOT_RECORDED, said, fix=_FIX, metadata=metadata)
        differs = first_difference(known[at], request)
        metadata["nearest_digest"] = sha256_text(self._exchanges[at].request)
        if differs is not None:
            metadata |= {"differs": differs.path, "recorded": differs.recorded, "asked": differs.asked}
            message += (
                f"; the nearest one differs first in {differs.path}: recorded {differs.recorded!r}, now "
                f"{differs.asked!r}"
            )
        return ModelError(Reason.MODEL_REPLY_NOT_RECORDED, f"{message}.", fix=_FIX, metadata=metadata)


def _info(exchange: Exchange) -> GatewayInfo:
    """The gateway as it was when it was asked."""
    request = read_object(exchange.request)
    parameters = request.get("parameters")
    known = parameters if isinstance(parameters, dict) else {}
    return GatewayInfo(
        name=exchange.gateway,
        model=str(request.get("model", "")),
        notice="recorded replies; no model is asked",
        max_prompt_chars=int(known.get("max_prompt_chars", 0)),
        max_reply_tokens=int(known.get("max_reply_tokens", 0)),
        dialect=str(known.get("dialect", "rich")),
    )


def _read(exchange: Exchange) -> tuple[Any, Completion]:
    """Reads a recorded reply as the gateway did, and puts in what was known of it besides its text.

    Raises the ModelError that it was when it was fresh.
    """
    reply = HttpReply(200, httpx.Headers(), exchange.reply, exchange.latency_ms)
    try:
        if _of_router(exchange.reply):
            data, completion = router.reread(reply, exchange.prompt)
        else:
            data, completion = None, openai.reread(reply, exchange.prompt, exchange.model)
    except ModelError as error:
        error.completions = tuple(_known(exchange, each) for each in error.completions)
        raise
    return data, _known(exchange, completion)


def _lost(exchange: Exchange) -> ModelError:
    """The error of a call that got no whole reply, as it was."""
    reason = Reason(exchange.finish_reason.removeprefix(NO_REPLY))
    error = ModelError(reason, "The model's server gave no whole reply when this was recorded.")
    bare = Completion("", "", "", exchange.prompt, exchange.reply, exchange.latency_ms)
    error.lost = (_known(exchange, bare),)
    return error


def _of_router(raw: bytes) -> bool:
    try:
        return "model_used" in read_object(raw)
    except NotJson:
        return False


def _known(exchange: Exchange, completion: Completion) -> Completion:
    return replace(
        completion,
        model=exchange.model,
        finish_reason=exchange.finish_reason,
        prompt_tokens=exchange.prompt_tokens,
        completion_tokens=exchange.completion_tokens,
        cost_micros=exchange.cost_micros,
        cache_hit=exchange.cache_hit,
    )


def _json(completion: Completion) -> Any:
    try:
        return find_json(completion.text)
    except NotJson as error:
        raise openai.not_json(completion, error) from None
