"""OpenAI-compatible chat completions: OpenAI, Ollama, vLLM, LiteLLM, Gemini's OpenAI endpoint, llama.cpp and others.

Protocol: https://platform.openai.com/docs/api-reference/chat. Servers differ in what they accept, so a refusal of
``response_format``, ``max_tokens`` or ``temperature`` steps down once per server and is remembered:
json_schema → json_object → plain text, with the JSON then searched for in the text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import rfc8785

from interlock.common.errors import Reason
from interlock.planner.gateways.base import (
    NO_REPLY,
    Completion,
    CompletionRequest,
    GatewayInfo,
    JsonSchema,
    ModelError,
    Structured,
    unreadable,
)
from interlock.planner.gateways.money import count_of, micros_of_dollars
from interlock.planner.gateways.replies import NotJson, find_json, read_object
from interlock.planner.gateways.status import check_status, server_says
from interlock.planner.gateways.streamed import Joiner
from interlock.planner.gateways.transport import HttpReply, Transport

_FORMATS = ("json_schema", "json_object", "text")
_MAX_ADAPTATIONS = 5
_HEALTH_TIMEOUT_S = 5.0
_KEPT_OF_LOST = 64 * 1024
_STREAMED: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


@dataclass(slots=True)
class Habits:
    """What a server turned out to accept; starts hopeful and only steps down. ``stream`` is of replies in words.

    ``extra`` is added to every request, ``text_extra`` to those for plain text.
    """

    format: int = 0
    stream: bool = True
    max_tokens_field: str = "max_tokens"
    temperature: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)
    text_extra: Mapping[str, Any] = field(default_factory=dict)


class OpenAIGateway:
    """One OpenAI-compatible server and one model of it."""

    def __init__(self, info: GatewayInfo, transport: Transport, habits: Habits | None = None) -> None:
        self._info = info
        self._http = transport
        self._habits = habits or Habits()

    @property
    def info(self) -> GatewayInfo:
        return self._info

    async def complete(self, request: CompletionRequest) -> Completion:
        return await self._ask(request, None)

    async def structure(self, request: CompletionRequest, schema: JsonSchema) -> Structured:
        completion = await self._ask(request, schema)
        try:
            return Structured(find_json(completion.text), (completion,))
        except NotJson as error:
            raise not_json(completion, error) from None

    async def available(self) -> bool:
        try:
            reply = await self._http.get("models", _HEALTH_TIMEOUT_S)
        except ModelError:
            return False
        return reply.status < 500 and reply.status not in (401, 403)

    async def models(self) -> tuple[str, ...]:
        try:
            reply = await self._http.get("models", _HEALTH_TIMEOUT_S)
            listed = read_object(reply.body).get("data")
        except (ModelError, NotJson):
            return ()
        names = (
            [item.get("id") for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
        )
        return tuple(sorted(name[:200] for name in names if isinstance(name, str)))[:1000]

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _ask(self, request: CompletionRequest, schema: JsonSchema | None) -> Completion:
        for _ in range(_MAX_ADAPTATIONS):
            live = self._http.keys.live(request.listener) if request.listener else None
            joiner = Joiner(live, self._http.keys) if live and self._habits.stream else None
            body = self._body(request, schema) | (_STREAMED if joiner else {})
            sent = rfc8785.dumps(body)
            tap = joiner.feed if joiner else None
            reply = await self._http.post("chat/completions", sent, request.timeout_s, tap=tap)
            if live and joiner and joiner.heard:
                live.flush()
                return self._joined(joiner, reply, sent)
            if reply.status in (400, 404, 415, 422, 501) and self._adapt(reply, schema is not None):
                continue
            break
        check_status(reply)
        return reread(reply, sent, self._info.model)

    def _joined(self, joiner: Joiner, reply: HttpReply, sent: bytes) -> Completion:
        """What was told in pieces, as if it had come whole. Headers came before anything had a price."""
        priced = any(name.startswith("x-litellm-") for name in reply.headers)
        try:
            whole = replace(reply, body=joiner.whole(), headers=httpx.Headers())
        except ModelError as error:
            why = f"{NO_REPLY}{error.reason.value}"
            error.lost = (Completion("", "", why, sent, reply.body[:_KEPT_OF_LOST], reply.latency_ms),)
            raise
        completion = reread(whole, sent, self._info.model)
        if priced and completion.cost_micros is None:
            self._habits.stream = (
                False  # this server says prices of whole replies only, and a price is worth more
            )
        return completion

    def _body(self, request: CompletionRequest, schema: JsonSchema | None) -> dict[str, Any]:
        form = _FORMATS[self._habits.format]
        prompt = request.prompt
        if schema is not None and form != "json_schema":
            prompt += "\n\nAnswer with JSON only, valid under this JSON Schema:\n" + json.dumps(schema)
        messages = [{"role": "system", "content": request.system}] if request.system else []
        body: dict[str, Any] = {
            "model": self._info.model,
            "messages": [*messages, {"role": "user", "content": prompt}],
            self._habits.max_tokens_field: min(request.max_tokens, self._info.max_reply_tokens),
            **self._habits.extra,
            **({} if schema is not None else self._habits.text_extra),
        }
        if self._habits.temperature:
            body["temperature"] = 0
        if schema is not None and form == "json_schema":
            body["response_format"] = {"type": form, "json_schema": {"name": "reply", "schema": dict(schema)}}
        elif schema is not None and form == "json_object":
            body["response_format"] = {"type": form}
        return body

    def _adapt(self, reply: HttpReply, structured: bool) -> bool:
        """Step down in what the server refused; False when the refusal is about something else."""
        said = server_says(reply)
        habits = self._habits
        if habits.stream and "stream" in said:
            habits.stream = False
            return True
        if (
            "max_tokens" in said
            and "max_completion_tokens" in said
            and habits.max_tokens_field == "max_tokens"
        ):
            habits.max_tokens_field = "max_completion_tokens"
            return True
        if "temperature" in said and habits.temperature:
            habits.temperature = False
            return True
        named = any(word in said for word in ("response_format", "json_schema", "json_object", "schema"))
        if structured and named and habits.format < len(_FORMATS) - 1:
            habits.format += 1
            return True
        return False


def not_json(completion: Completion, error: NotJson) -> ModelError:
    """MODEL_REPLY_INVALID for a text that should have been JSON."""
    cut = ", cut at its token limit" if completion.finish_reason == "length" else ""
    return unreadable(f"The model's reply is not JSON{cut}: {error}.", completion)


def reread(reply: HttpReply, sent: bytes, asked_model: str) -> Completion:
    """A reply of status 200 → its text and what it says of itself. Raises MODEL_REPLY_INVALID, MODEL_REFUSED."""
    bare = Completion("", asked_model, "", sent, reply.body, reply.latency_ms)
    try:
        data = read_object(reply.body)
    except NotJson as error:
        raise unreadable(f"The model's server did not answer with JSON: {error}.", bare) from None
    usage = _mapping(data.get("usage"))
    choices = data.get("choices")
    choice = _mapping(choices[0] if isinstance(choices, list) and choices else None)
    message = _mapping(choice.get("message"))
    completion = Completion(
        text=_text(message.get("content")),
        model=_word(data.get("model")) or asked_model,
        finish_reason=_word(choice.get("finish_reason")),
        sent=sent,
        raw=reply.body,
        latency_ms=reply.latency_ms,
        prompt_tokens=count_of(usage.get("prompt_tokens")),
        completion_tokens=count_of(usage.get("completion_tokens")),
        cost_micros=_cost(reply, usage),
    )
    _check_content(completion, message)
    return completion


def _check_content(completion: Completion, message: Mapping[str, Any]) -> None:
    if message.get("refusal") or completion.finish_reason == "content_filter":
        why = _word(message.get("refusal")) or "its content filter stopped the reply"
        raise ModelError(Reason.MODEL_REFUSED, f"The model declined: {why[:300]}", completions=(completion,))
    if not completion.text.strip():
        calls = message.get("tool_calls") or message.get("function_call")
        what = "a tool call instead of an answer" if calls else "no content"
        cut = " (it used up its token limit before answering)" if completion.finish_reason == "length" else ""
        raise unreadable(f"The model's reply has {what}{cut}.", completion)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(content: object) -> str:
    """The text of a message: a string, or the text parts of a list of parts."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _word(value: object) -> str:
    return value[:300] if isinstance(value, str) else ""


def _cost(reply: HttpReply, usage: Mapping[str, Any]) -> int | None:
    """The price, where the server says it: LiteLLM by a header, OpenRouter in ``usage.cost``. Otherwise unknown."""
    header = micros_of_dollars(reply.headers.get("x-litellm-response-cost"))
    return header if header is not None else micros_of_dollars(usage.get("cost"))
