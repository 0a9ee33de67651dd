"""Which gateways a question goes to: those of its purpose in their order, or a record in place of any model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from interlock.common.clock import Clock
from interlock.common.errors import Reason
from interlock.planner.commands.asking import Allowance, Asked, Asker
from interlock.planner.domain.model import Exchange
from interlock.planner.gateways import recorded
from interlock.planner.gateways.base import Gateway, ModelError
from interlock.planner.gateways.recorded import Record

T = TypeVar("T")

PURPOSES = ("plan", "analyze", "summarize", "draft")
"""What gateways are chosen by; a re-plan is a plan."""

_ALSO = {"plan": ("plan", "replan", "next")}
"""Purposes of exchanges that a route stands for, where they are more than its own."""

_NEXT = frozenset(
    {
        Reason.MODEL_UNAVAILABLE,
        Reason.MODEL_UNAUTHENTICATED,
        Reason.MODEL_RATE_LIMITED,
        Reason.MODEL_TIMEOUT,
        Reason.MODEL_PROMPT_TOO_LARGE,
        Reason.MODEL_REPLY_INVALID,
        Reason.MODEL_REPLY_NOT_RECORDED,
    }
)
"""Failures after which the next gateway is asked. A refusal is not shopped around."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms models may be asked. With a ``record``, none is; no ``allowance`` is no limit."""

    record: Record | None = None
    failure_as_data: bool = False
    allowance: Allowance | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """The gateways of one purpose. ``attempts`` and ``timeout_s`` are of a whole question to one of them."""

    gateways: tuple[Gateway, ...]
    attempts: int
    timeout_s: float


class Models:
    """Asks the gateways of a purpose one after the other, until one has a usable answer."""

    def __init__(self, routes: Mapping[str, Route], clock: Clock) -> None:
        self.routes = routes
        self._clock = clock

    async def ask(
        self,
        purpose: str,
        terms: Terms,
        time_left_s: float | None,
        ask: Callable[[Asker, float | None], Awaitable[Asked[T]]],
    ) -> Asked[T]:
        """The first usable answer. ``ask`` gets an asker and the seconds that are left.

        Raises the last gateway's error, with the exchanges of all of them.
        """
        end = None if time_left_s is None else self._clock.monotonic() + time_left_s
        route = self.routes[purpose]
        gateways = self._gateways(purpose, route, terms.record)
        earlier: tuple[Exchange, ...] = ()
        for index, gateway in enumerate(gateways):
            allowance = None
            if terms.allowance is not None and terms.record is None:
                allowance = terms.allowance.less(earlier)
            asker = Asker(gateway, self._clock, route.attempts, route.timeout_s, allowance)
            left = None if end is None else max(0.05, end - self._clock.monotonic())
            try:
                asked = await ask(asker, left)
            except ModelError as error:
                earlier += error.exchanges
                error.exchanges = earlier
                last = index == len(gateways) - 1
                over = end is not None and self._clock.monotonic() >= end
                if last or over or error.reason not in _NEXT:
                    raise
                continue
            return Asked(asked.value, earlier + asked.exchanges)
        raise AssertionError("a route has at least one gateway")

    @staticmethod
    def _gateways(purpose: str, route: Route, record: Record | None) -> Sequence[Gateway]:
        if record is None:
            return route.gateways
        return recorded.gateways(record, _ALSO.get(purpose, (purpose,)))

    async def aclose(self) -> None:
        """Closes every gateway, once."""
        for gateway in {id(each): each for route in self.routes.values() for each in route.gateways}.values():
            await gateway.aclose()
