"""Calls of models, and what they cost together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PassedGateway:
    """A gateway that had no usable answer, and the reason, so that the next one was asked."""

    gateway: str
    reason: str


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call of a model. None = not reported, which is not 0. Latency in microseconds.

    `request_payload` is what was asked, whatever gateway it went through: a recorded reply is found by it. It is empty
    for calls from before requests were recorded. `passed_over` are the gateways that were asked the same before.
    """

    purpose: str
    gateway: str
    model: str
    prompt_version: str
    prompt_payload: str = ""
    reply_payload: str = ""
    finish_reason: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_micros: int | None = None
    latency_us: int = 0
    cache_hit: bool | None = None
    request_payload: str = ""
    passed_over: tuple[PassedGateway, ...] = ()


@dataclass(frozen=True, slots=True)
class Spent:
    """What model calls cost together. None = no call reported it; with `unpriced` calls the sum is a lower bound."""

    calls: int = 0
    unpriced: int = 0
    cost_micros: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def plus(self, call: ModelCall) -> Spent:
        """With one more call."""
        return Spent(
            self.calls + 1,
            self.unpriced + (call.cost_micros is None),
            _sum(self.cost_micros, call.cost_micros),
            _sum(self.prompt_tokens, call.prompt_tokens),
            _sum(self.completion_tokens, call.completion_tokens),
        )


def _sum(known: int | None, more: int | None) -> int | None:
    return known if more is None else (known or 0) + more
