"""What the planner is asked and what it answers, free of wire formats."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from interlock.common.plan import PlanPolicy, PlanStep

DEFAULT_MAX_STEPS = 20
PURPOSES = ("plan", "analyze", "summarize", "draft")
"""What gateways are chosen by; a re-plan is a plan."""


@dataclass(frozen=True, slots=True)
class ContextFile:
    """A file of the workspace: its size in bytes, and its text when the caller gives it."""

    path: str
    size: int = 0
    content: str = ""


@dataclass(frozen=True, slots=True)
class ContextResult:
    """The result of an earlier step. ``kind`` and ``state`` are words, such as ``read_file`` and ``succeeded``."""

    key: str
    kind: str
    title: str = ""
    state: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is left of a run's budget; ``None`` = no limit. ``call_micros``: what one call of a model has cost so far.

    Money is whole micro-US-dollars; 0 = not known.
    """

    model_calls: int | None = None
    cost_micros: int | None = None
    call_micros: int = 0


@dataclass(frozen=True, slots=True)
class PlanTask:
    """A goal to plan. ``results`` and ``remaining`` are there when a run is planned again because of ``feedback``.

    ``problems``: why an earlier answer to this very question was not taken. ``going_on``: nothing has gone wrong, the
    steps are decided a few at a time from the results so far.
    """

    goal: str
    files: tuple[ContextFile, ...] = ()
    additional_context: str = ""
    max_steps: int = DEFAULT_MAX_STEPS
    policy: PlanPolicy | None = None
    results: tuple[ContextResult, ...] = ()
    remaining: tuple[PlanStep, ...] = ()
    feedback: str = ""
    problems: tuple[str, ...] = ()
    limits: Limits = Limits()
    going_on: bool = False

    @property
    def again(self) -> bool:
        """Whether there are steps that ended, which stay."""
        return bool(self.feedback) or self.going_on

    @property
    def earlier_steps(self) -> int:
        """The number of the last step that ended, 0 when none did."""
        return max((int(result.key.removeprefix("step-")) for result in self.results), default=0)


@dataclass(frozen=True, slots=True)
class AnswerTask:
    """A question about earlier results."""

    instruction: str
    goal: str = ""
    results: tuple[ContextResult, ...] = ()


@dataclass(frozen=True, slots=True)
class DraftTask:
    """A file whose new content is to be drafted; ``current`` is empty when it is new."""

    path: str
    instruction: str
    current: str = ""
    goal: str = ""
    results: tuple[ContextResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Price:
    """What tokens cost: US dollars for a million of them, which is the same as micro-dollars for one."""

    prompt: Decimal
    completion: Decimal

    def of(self, prompt_tokens: int, completion_tokens: int) -> int:
        """The price of a call in micro-dollars, rounded up."""
        total = self.prompt * prompt_tokens + self.completion * completion_tokens
        return int(total.to_integral_value(rounding=ROUND_CEILING))


@dataclass(frozen=True, slots=True)
class PassedGateway:
    """A gateway that had no usable answer, and the reason, so that the next one was asked."""

    gateway: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReplyKey:
    """Names a question whose reply can be read while it comes: the attempt of a step that it is for."""

    run_id: str
    step: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """One model call as it is journaled: the exact bytes both ways, and what the gateway said of it.

    ``request`` is its address in a record: what was asked, whatever gateway it went through.

    ``None`` means that the gateway did not report it.
    """

    purpose: str
    gateway: str
    model: str
    prompt_version: str
    request: bytes
    prompt: bytes
    reply: bytes
    finish_reason: str
    latency_ms: int
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_micros: int | None
    cache_hit: bool | None
    passed_over: tuple[PassedGateway, ...] = ()
