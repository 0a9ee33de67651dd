"""Asking a model until its answer can be used: a bounded number of times, with the reasons why it could not."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from interlock.common.clock import Clock
from interlock.common.errors import Reason
from interlock.planner import prompts
from interlock.planner.commands.live import LiveReply
from interlock.planner.domain.context import cut, fenced
from interlock.planner.domain.model import Exchange
from interlock.planner.gateways import prices
from interlock.planner.gateways.base import (
    Completion,
    CompletionRequest,
    Gateway,
    JsonSchema,
    ModelError,
    shown,
)
from interlock.planner.gateways.canonical import canonical

T = TypeVar("T")
_RAW_REPLY_BYTES = 4_096
_SHOWN_REPLY = 2_000


@dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """A usable answer and every call it took, in order."""

    value: T
    exchanges: tuple[Exchange, ...]


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a question may cost in the worst case; a call without a known price counts as ``unpriced_call_micros``."""

    micros: int
    unpriced_call_micros: int = 0

    def counted(self, exchange: Exchange) -> int:
        """What a call counts as that was made."""
        return self.unpriced_call_micros if exchange.cost_micros is None else exchange.cost_micros

    def less(self, exchanges: Sequence[Exchange]) -> Allowance:
        """What is left after these calls."""
        spent = sum(self.counted(each) for each in exchanges)
        return Allowance(max(0, self.micros - spent), self.unpriced_call_micros)


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why an answer cannot be used, in words for the model."""

    problems: str


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask. ``prompt_id`` is journaled; ``schema`` of ``None`` asks for text."""

    purpose: str
    prompt_id: str
    request: CompletionRequest
    schema: JsonSchema | None = None


class Asker:
    """Asks one gateway; ``attempts`` bounds the answers per question, ``timeout_s`` the whole of it."""

    def __init__(
        self,
        gateway: Gateway,
        clock: Clock,
        attempts: int,
        timeout_s: float,
        allowance: Allowance | None = None,
        listener: LiveReply | None = None,
    ) -> None:
        self.gateway = gateway
        self._allowance = allowance
        self._listener = listener
        self._clock = clock
        self._attempts = attempts
        self._timeout_s = timeout_s

    def room(self, *fixed: str) -> int:
        """Characters left for context beside texts that have to be in the prompt.

        Raises MODEL_PROMPT_TOO_LARGE when these alone do not fit.
        """
        limit = self.gateway.info.max_prompt_chars
        used = sum(len(text) for text in fixed)
        if used > limit:
            raise ModelError(
                Reason.MODEL_PROMPT_TOO_LARGE,
                f"The goal and instruction make a prompt of {used:,} characters; the model takes {limit:,}.",
                fix="Shorten the goal or the instruction, or use a model with a larger context.",
            )
        return limit - used

    async def ask(
        self, question: Question, read: Callable[[Any], T | Rejected], time_left_s: float | None = None
    ) -> Asked[T]:
        """The first answer that ``read`` accepts; ``read`` gets parsed JSON, or text when there is no schema.

        Raises ModelError of the gateway, or MODEL_REPLY_INVALID with the last raw reply (4 KiB) in the metadata. The
        metadata also counts the calls made and their cost, because no exchange is returned then.
        """
        whole = self._timeout_s if time_left_s is None else min(self._timeout_s, time_left_s)
        end = self._clock.monotonic() + whole
        done: list[Exchange] = []
        problems = ""
        named = replace(
            question.request, purpose=question.purpose, prompt_version=question.prompt_id, timeout_s=whole
        )
        request = named
        for _ in range(self._attempts):
            left = end - self._clock.monotonic()
            if left <= 0:
                raise self._spent(_timed_out(whole), question, done)
            if self._allowance is not None and (refused := self._refused(question, request, done)):
                raise self._spent(refused, question, done)
            try:
                data, replies = await self._once(question, replace(request, timeout_s=left))
            except ModelError as error:
                done += self._exchanges(question, request, (*error.completions, *error.lost))
                if error.reason is not Reason.MODEL_REPLY_INVALID or not error.completions:
                    raise self._spent(error, question, done) from None
                problems = f"- {error.message}"
                last = error.completions[-1]
            else:
                done += self._exchanges(question, request, replies)
                result = read(data)
                if not isinstance(result, Rejected):
                    return Asked(result, tuple(done))
                problems = result.problems
                last = replies[-1]
            request = self._repair(named, last, problems)
        raise self._spent(_unusable(len(done), problems), question, done)

    def _refused(
        self, question: Question, request: CompletionRequest, done: Sequence[Exchange]
    ) -> ModelError | None:
        """RUN_BUDGET_REACHED, where this call could cost more than is left."""
        assert self._allowance is not None
        info, allowance = self.gateway.info, self._allowance
        text = request.system + request.prompt + (json.dumps(question.schema) if question.schema else "")
        tokens = min(request.max_tokens, info.max_reply_tokens)
        worst = prices.worst_of(info, len(text.encode("utf-8", "replace")) + 500, tokens)
        each = allowance.unpriced_call_micros if worst is None else worst
        spent = sum(allowance.counted(exchange) for exchange in done)
        if worst is None and not each:
            return _no_price(info.model)
        return (
            None
            if spent + each <= allowance.micros
            else _too_dear(info.model, spent + each, each, self._attempts)
        )

    async def _once(self, question: Question, request: CompletionRequest) -> tuple[Any, Sequence[Completion]]:
        if question.schema is None:
            if self._listener is not None:
                self._listener.begin()
            completion = await self.gateway.complete(replace(request, listener=self._listener))
            return completion.text, (completion,)
        structured = await self.gateway.structure(request, question.schema)
        return structured.data, structured.completions

    def _repair(self, original: CompletionRequest, last: Completion, problems: str) -> CompletionRequest:
        """The same question with the last answer and its problems, when there is room; else the same question."""
        reply = fenced("your last answer", cut(last.text, _SHOWN_REPLY))
        prompt = prompts.load("repair/v1").fill(
            prompt=original.prompt, reply=reply, problems=cut(problems, _SHOWN_REPLY)
        )
        fits = len(prompt) + len(original.system) <= self.gateway.info.max_prompt_chars
        return replace(original, prompt=prompt) if fits else original

    def _exchanges(
        self, question: Question, request: CompletionRequest, replies: Sequence[Completion]
    ) -> list[Exchange]:
        address = canonical(request, question.schema, self.gateway.info)
        return [self._exchange(question, reply, address) for reply in replies]

    def _exchange(self, question: Question, reply: Completion, address: bytes) -> Exchange:
        return Exchange(
            purpose=question.purpose,
            gateway=self.gateway.info.name,
            model=reply.model or self.gateway.info.model,
            prompt_version=question.prompt_id,
            request=address,
            prompt=reply.sent,
            reply=reply.raw,
            finish_reason=reply.finish_reason,
            latency_ms=reply.latency_ms,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            cost_micros=self._cost(reply),
            cache_hit=reply.cache_hit,
        )

    def _cost(self, reply: Completion) -> int | None:
        """What is settled for the gateway, else what it says, else what the list of prices says of its token counts.

        Else unknown.
        """
        if (
            price := prices.settled(self.gateway.info, reply.prompt_tokens, reply.completion_tokens)
        ) is not None:
            return price
        if reply.cost_micros is not None or self.gateway.info.name == "recorded":
            return reply.cost_micros
        counts = reply.prompt_tokens, reply.completion_tokens
        found = prices.cost(reply.model, *counts)
        return found if found is not None else prices.cost(self.gateway.info.model, *counts)

    def _spent(self, error: ModelError, question: Question, done: Sequence[Exchange]) -> ModelError:
        """The error with what the failed question has cost and the last raw reply."""
        facts = {
            "gateway": self.gateway.info.name,
            "purpose": question.purpose,
            "prompt_version": question.prompt_id,
            "model_calls": str(len(done)),
            "unpriced_calls": str(sum(reply.cost_micros is None for reply in done)),
        }
        known = [reply.cost_micros for reply in done if reply.cost_micros is not None]
        if known:
            facts["cost_micros"] = str(sum(known))
        if done:
            facts["raw_reply"] = (
                done[-1].reply[:_RAW_REPLY_BYTES].decode("utf-8", "replace")[:_RAW_REPLY_BYTES]
            )
        error.metadata.update(facts)
        error.exchanges = tuple(done)
        return error


def _no_price(model: str) -> ModelError:
    return ModelError(
        Reason.RUN_BUDGET_REACHED,
        f"The price of {model} is not known, and the budget allows nothing for such a call.",
        fix="Allow a sum for each call without a known price: `interlock budget set … --unpriced-call AMOUNT`.",
        metadata={"unpriced_model": model},
    )


def _too_dear(model: str, needed: int, each: int, attempts: int) -> ModelError:
    return ModelError(
        Reason.RUN_BUDGET_REACHED,
        f"A call of {model} could cost more than is left of the budget.",
        fix="Raise the budget with `interlock budget set`; the run goes on then.",
        metadata={"needed_micros": str(needed), "worst_micros": str(each * attempts)},
    )


def _timed_out(whole: float) -> ModelError:
    return ModelError(Reason.MODEL_TIMEOUT, f"The model gave no usable answer within {whole:.3g} s.")


def _unusable(count: int, problems: str) -> ModelError:
    times = "once" if count == 1 else f"{count} times"
    why = shown(problems.encode("utf-8", "replace"), 600)
    return ModelError(
        Reason.MODEL_REPLY_INVALID, f"The model was asked {times} and gave no usable answer: {why}"
    )
