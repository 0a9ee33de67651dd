"""The interface every model gateway has, and the one error they raise.

    InterlockError
    └── ModelError(reason, message)      every failure of a model call; carries the completion, if one was received

Money is whole micro-US-dollars. What a gateway does not report is ``None``, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from interlock.common.errors import InterlockError, Reason
from interlock.planner.domain.model import Exchange, Price

JsonSchema = Mapping[str, Any]


class Listener(Protocol):
    """Hears a reply while it comes. What it hears is partial, and nothing depends on it."""

    def add(self, text: str) -> None:
        """The next piece."""
        ...


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """What is asked of a model. ``timeout_s`` bounds the whole call, retries included.

    A gateway that can tells a ``listener`` the reply in pieces; the completion is the same without one.
    """

    prompt: str
    system: str = ""
    max_tokens: int = 1024
    timeout_s: float = 120.0
    purpose: str = ""
    prompt_version: str = ""
    listener: Listener | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Completion:
    """One reply. ``sent`` and ``raw`` are the exact bytes of the request's and the reply's body."""

    text: str
    model: str
    finish_reason: str
    sent: bytes
    raw: bytes
    latency_ms: int
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_micros: int | None = None
    cache_hit: bool | None = None


@dataclass(frozen=True, slots=True)
class Structured:
    """Data that a reply held as JSON, and every completion it took to get it (at least one)."""

    data: Any
    completions: tuple[Completion, ...]


@dataclass(frozen=True, slots=True)
class GatewayInfo:
    """What is known of a gateway without calling it. ``max_prompt_chars`` counts system and prompt together."""

    name: str
    model: str
    base_url: str = ""
    notice: str = ""
    max_prompt_chars: int = 400_000
    max_reply_tokens: int = 8_192
    dialect: str = "rich"
    """Which schema of a plan it can be given: ``rich``, ``router`` (a conservative array) or ``tiny``."""
    free: bool = False
    """Whether its calls are known to cost nothing."""
    calls: int = 1
    """Most calls that have to be paid for when it is asked once."""
    kind: str = ""
    """``local``, ``openai`` or ``router``; empty for a record."""
    timeout_s: float = 120.0
    """Seconds for one question to it, retries and repairs included."""
    price: Price | None = None
    """What its tokens cost, where that is settled; it counts before what anybody else says."""


class Gateway(Protocol):
    """A way to a model. Every failure is a ModelError; nothing waits longer than the request's time-out."""

    @property
    def info(self) -> GatewayInfo:
        """Name, model, limits."""
        ...

    async def complete(self, request: CompletionRequest) -> Completion:
        """A reply as text."""
        ...

    async def structure(self, request: CompletionRequest, schema: JsonSchema) -> Structured:
        """A reply as JSON data. The schema is asked for, not guaranteed: the caller validates."""
        ...

    async def available(self) -> bool:
        """Whether it answers its health check now. Never raises."""
        ...

    async def models(self) -> tuple[str, ...]:
        """Names of the models it can use; empty when it does not say. Never raises."""
        ...

    async def aclose(self) -> None:
        """Release connections and processes."""
        ...


class ModelError(InterlockError):
    """A model call that failed. ``completions`` are the replies received before and at the failure.

    ``lost`` is a call that was sent and got no whole reply: it may have to be paid for, and nobody knows what.
    ``exchanges`` are both as they are journaled; they are known once the question has failed as a whole.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        fix: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        completions: tuple[Completion, ...] = (),
    ) -> None:
        super().__init__(reason, message, fix=fix, metadata=metadata, retry_after=retry_after)
        self.completions = completions
        self.lost: tuple[Completion, ...] = ()
        self.exchanges: tuple[Exchange, ...] = ()


NO_REPLY = "no reply: "
"""Begins the finish reason of a call without a whole reply; the reason of its error follows."""


def shown(raw: bytes, limit: int = 300) -> str:
    """The beginning of a reply for an error message: one line, printable, at most ``limit`` characters."""
    text = " ".join(raw[: limit * 4].decode("utf-8", "replace").split())
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def unreadable(message: str, completion: Completion) -> ModelError:
    """MODEL_REPLY_INVALID for a reply that arrived but cannot be used."""
    return ModelError(Reason.MODEL_REPLY_INVALID, message, completions=(completion,))
