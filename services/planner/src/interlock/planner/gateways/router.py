"""The Smart Model Router: a gateway that picks a model by the difficulty of the prompt.

``POST /v1/complete {prompt, system_prompt?, metadata?, force_tier?}`` →
``{response, model_used, difficulty_tag, estimated_cost, estimated_savings, latency_ms, cache_hit}``;
``POST /v1/structure {prompt, json_schema, system_prompt?}`` → ``{data, model_used, estimated_cost, latency_ms}``;
header ``X-API-Key``; ``GET /health``. Costs are US dollars as JSON numbers. Known behaviour that is allowed for:
``/v1/complete`` ignores ``system_prompt`` (so it is folded into the prompt), prompts over 100,000 characters are
refused (422), 503 when its models fail, 500 when structuring fails, answers may come from a semantic cache, and no
token counts are given (recorded as unknown). ``/v1/structure`` takes a conservative schema and returns an array or an
object.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import rfc8785

from interlock.common.errors import Reason
from interlock.planner.gateways.base import (
    Completion,
    CompletionRequest,
    GatewayInfo,
    JsonSchema,
    ModelError,
    Structured,
    unreadable,
)
from interlock.planner.gateways.money import micros_of_dollars
from interlock.planner.gateways.replies import NotJson, find_json, read_object
from interlock.planner.gateways.status import check_status
from interlock.planner.gateways.transport import RETRIED, HttpReply, Transport

MAX_PROMPT_CHARS = 100_000
_STRUCTURE_RETRIED = RETRIED - {
    500
}  # 500 there means that structuring failed: asking again costs money for the same
_HEALTH_TIMEOUT_S = 5.0


class RouterGateway:
    """One Smart Model Router. ``tier`` is sent as ``force_tier`` when not empty."""

    def __init__(self, info: GatewayInfo, transport: Transport, tier: str = "") -> None:
        self._info = info
        self._http = transport
        self._tier = tier

    @property
    def info(self) -> GatewayInfo:
        return self._info

    async def complete(self, request: CompletionRequest) -> Completion:
        body: dict[str, Any] = {"prompt": _folded(request)}
        if self._tier:
            body["force_tier"] = self._tier
        completion, data = await self._post("v1/complete", body, request.timeout_s, RETRIED)
        return _text(completion, data)

    async def structure(self, request: CompletionRequest, schema: JsonSchema) -> Structured:
        body = {"prompt": _folded(request), "json_schema": dict(schema)}
        try:
            completion, data = await self._post("v1/structure", body, request.timeout_s, _STRUCTURE_RETRIED)
        except ModelError as error:
            if error.metadata.get("http_status") not in ("500", "404"):
                raise
            return await self._structure_from_text(request, schema, error.completions)
        answer, completion = _data(completion, data)
        return Structured(answer, (completion,))

    async def available(self) -> bool:
        try:
            return (await self._http.get("health", _HEALTH_TIMEOUT_S)).status == 200
        except ModelError:
            return False

    async def models(self) -> tuple[str, ...]:
        return ()  # the protocol has no list of models

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _structure_from_text(
        self, request: CompletionRequest, schema: JsonSchema, earlier: tuple[Completion, ...]
    ) -> Structured:
        """When structuring fails there, ask for JSON as text and look for it."""
        ask = "Answer with JSON only, valid under this JSON Schema:\n" + json.dumps(schema)
        plain = CompletionRequest(
            f"{request.prompt}\n\n{ask}", request.system, request.max_tokens, request.timeout_s
        )
        completion = await self.complete(plain)
        return Structured(_parsed(completion.text, completion), (*earlier, completion))

    async def _post(
        self, path: str, body: dict[str, Any], timeout_s: float, retried: frozenset[int]
    ) -> tuple[Completion, dict[str, Any]]:
        if len(body["prompt"]) > MAX_PROMPT_CHARS:
            message = (
                f"The prompt has {len(body['prompt']):,} characters; the router takes {MAX_PROMPT_CHARS:,}."
            )
            raise ModelError(Reason.MODEL_PROMPT_TOO_LARGE, message)
        sent = rfc8785.dumps(body)
        reply = await self._http.post(path, sent, timeout_s, retried)
        check_status(reply)
        return _read(reply, sent)


def reread(reply: HttpReply, sent: bytes) -> tuple[Any, Completion]:
    """A reply of either route and status 200: its data, or ``None`` where it is text, and the completion.

    Raises MODEL_REPLY_INVALID.
    """
    completion, data = _read(reply, sent)
    return _data(completion, data) if "data" in data else (None, _text(completion, data))


def _text(completion: Completion, data: dict[str, Any]) -> Completion:
    text = data.get("response")
    if not isinstance(text, str) or not text.strip():
        raise unreadable("The router's reply has no text in `response`.", completion)
    return replace(completion, text=text)


def _data(completion: Completion, data: dict[str, Any]) -> tuple[Any, Completion]:
    answer = data.get("data")
    if isinstance(answer, str):
        answer = _parsed(answer, completion)
    if not isinstance(answer, (dict, list)):
        raise unreadable("The router's reply has no array or object in `data`.", completion)
    return answer, replace(completion, text=json.dumps(answer, default=str))


def _read(reply: HttpReply, sent: bytes) -> tuple[Completion, dict[str, Any]]:
    bare = Completion("", "", "", sent, reply.body, reply.latency_ms)
    try:
        data = read_object(reply.body)
    except NotJson as error:
        raise unreadable(f"The model's server did not answer with JSON: {error}.", bare) from None
    model = data.get("model_used")
    hit = data.get("cache_hit")
    completion = Completion(
        text="",
        model=model[:200] if isinstance(model, str) else "",
        finish_reason="",  # the protocol does not say
        sent=sent,
        raw=reply.body,
        latency_ms=reply.latency_ms,
        cost_micros=micros_of_dollars(data.get("estimated_cost")),
        cache_hit=hit if isinstance(hit, bool) else None,
    )
    return completion, data


def _parsed(text: str, completion: Completion) -> Any:
    try:
        return find_json(text)
    except NotJson as error:
        raise unreadable(f"The model's reply is not JSON: {error}.", completion) from None


def _folded(request: CompletionRequest) -> str:
    return f"{request.system}\n\n{request.prompt}" if request.system else request.prompt
