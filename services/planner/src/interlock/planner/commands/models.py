"""Which gateways a question goes to: those of its purpose in their order, or a record in place of any model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from interlock.common import logs
from interlock.common.clock import Clock
from interlock.common.errors import Reason
from interlock.planner.commands.asking import Allowance, Asked, Asker
from interlock.planner.commands.live import LiveReplies, LiveReply
from interlock.planner.domain.model import Exchange, PassedGateway, ReplyKey
from interlock.planner.gateways import prices, recorded
from interlock.planner.gateways.base import Gateway, ModelError
from interlock.planner.gateways.guarded import GuardedGateway, Standing
from interlock.planner.gateways.recorded import Record

T = TypeVar("T")

_log = logs.get("planner")

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
    """On which terms models may be asked. With a ``record``, none is; no ``allowance`` is no limit.

    Under the key ``live`` a reply in words can be read while it comes.
    """

    record: Record | None = None
    failure_as_data: bool = False
    allowance: Allowance | None = None
    live: ReplyKey | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """The gateways of one purpose in their order. ``attempts`` bounds the answers asked of each."""

    gateways: tuple[Gateway, ...]
    attempts: int


class Models:
    """Asks the gateways of a purpose one after the other, until one has a usable answer."""

    def __init__(
        self, routes: Mapping[str, Route], clock: Clock, guards: Mapping[str, GuardedGateway] | None = None
    ) -> None:
        self.routes = routes
        self.replies = LiveReplies(clock)
        self._clock = clock
        self._guards = guards or {}

    async def ask(
        self,
        purpose: str,
        terms: Terms,
        time_left_s: float | None,
        ask: Callable[[Asker, float | None], Awaitable[Asked[T]]],
    ) -> Asked[T]:
        """The first usable answer. ``ask`` gets an asker and the seconds that are left.

        Of the caller's time each gateway gets an equal part of what those before it left. Raises the last gateway's
        error, with the exchanges of all of them, and in its metadata (``passed_over``) those that were asked before.
        """
        with self.replies.open(terms.live) as listener:
            return await self._ask(purpose, terms, time_left_s, ask, listener)

    async def _ask(
        self,
        purpose: str,
        terms: Terms,
        time_left_s: float | None,
        ask: Callable[[Asker, float | None], Awaitable[Asked[T]]],
        listener: LiveReply | None,
    ) -> Asked[T]:
        end = None if time_left_s is None else self._clock.monotonic() + time_left_s
        route = self.routes[purpose]
        gateways = self._gateways(purpose, route, terms.record)
        earlier: tuple[Exchange, ...] = ()
        passed: tuple[PassedGateway, ...] = ()
        for index, gateway in enumerate(gateways):
            allowance = None
            if terms.allowance is not None and terms.record is None:
                allowance = terms.allowance.less(earlier)
            asker = Asker(gateway, self._clock, route.attempts, gateway.info.timeout_s, allowance, listener)
            try:
                asked = await ask(asker, self._part(end, len(gateways) - index))
            except ModelError as error:
                earlier += _after(error.exchanges, passed, terms.record)
                error.exchanges = earlier
                later = gateways[index + 1 :]
                over = end is not None and self._clock.monotonic() >= end
                if error.reason is Reason.RUN_BUDGET_REACHED and allowance is not None:
                    await self._reckon(error, allowance, earlier, later, route, ask)
                if not later or over or error.reason not in _NEXT:
                    raise _told(error, passed) from None
                passed += (PassedGateway(gateway.info.name, error.reason.value),)
                _log.warning(
                    "gateway passed over",
                    gateway=gateway.info.name,
                    reason=error.reason.value,
                    next=later[0].info.name,
                    purpose=purpose,
                )
                continue
            return Asked(asked.value, earlier + _after(asked.exchanges, passed, terms.record))
        raise AssertionError("a route has at least one gateway")

    def _part(self, end: float | None, parts: int) -> float | None:
        return None if end is None else max(0.05, (end - self._clock.monotonic()) / parts)

    async def _reckon(
        self,
        error: ModelError,
        allowance: Allowance,
        earlier: Sequence[Exchange],
        later: Sequence[Gateway],
        route: Route,
        ask: Callable[[Asker, float | None], Awaitable[Asked[T]]],
    ) -> None:
        """What a question may need that is passed on: what was spent, and the worst case of the gateways to come.

        They are asked with nothing to spend, which is refused before any call; those that cost nothing are left out.
        """
        if "needed_micros" not in error.metadata:
            return
        spent = sum(allowance.counted(each) for each in earlier)
        needed = spent + int(error.metadata["needed_micros"])
        worst = spent + int(error.metadata["worst_micros"])
        nothing = Allowance(0, allowance.unpriced_call_micros)
        for gateway in later:
            if prices.worst_of(gateway.info, 1_000, 1_000) == 0:
                continue
            try:
                await ask(Asker(gateway, self._clock, route.attempts, gateway.info.timeout_s, nothing), None)
            except ModelError as refused:
                worst += int(refused.metadata.get("worst_micros", "0"))
        error.metadata.update(needed_micros=str(needed), worst_micros=str(worst))

    @staticmethod
    def _gateways(purpose: str, route: Route, record: Record | None) -> Sequence[Gateway]:
        if record is None:
            return route.gateways
        return recorded.gateways(record, _ALSO.get(purpose, (purpose,)))

    def gateways(self) -> tuple[Gateway, ...]:
        """Every gateway of a route, once."""
        each = {id(gateway): gateway for route in self.routes.values() for gateway in route.gateways}
        return tuple(each.values())

    def standing(self, gateway: Gateway) -> Standing:
        """How a gateway stands just now."""
        guard = self._guards.get(gateway.info.name)
        return guard.standing() if guard else Standing()

    async def aclose(self) -> None:
        """Closes every gateway, once."""
        for gateway in self.gateways():
            await gateway.aclose()


def _after(
    exchanges: Sequence[Exchange], passed: tuple[PassedGateway, ...], record: Record | None
) -> tuple[Exchange, ...]:
    """The exchanges with the gateways that were asked the same before; in a replay, as it was recorded."""
    if record is None:
        return tuple(replace(each, passed_over=passed) for each in exchanges)
    known = {(each.gateway, each.request): each.passed_over for each in record.exchanges}
    return tuple(replace(each, passed_over=known.get((each.gateway, each.request), ())) for each in exchanges)


def _told(error: ModelError, passed: Sequence[PassedGateway]) -> ModelError:
    if passed:
        error.metadata["passed_over"] = ", ".join(f"{each.gateway} {each.reason}" for each in passed)
    return error
