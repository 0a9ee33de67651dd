"""Money around a question: none is asked that could exceed a budget, and what each cost is counted.

First the question is put with nothing allowed: what costs nothing is answered, and otherwise the planner says what the
next call may cost at most. That is held back under every budget in force, and only then is a model asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from interlock.common.errors import InterlockError, Reason
from interlock.common.ids import Ids
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.model import STEP_FINAL, Run
from interlock.orchestrator.store import spending as store
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.spending import Asking, Cap, Cost

T = TypeVar("T")
Answer = Callable[[], Awaitable[Any]]

_RETRY_SECONDS = 0.5
_UNSURE = frozenset(
    {Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED, Reason.PLANNER_UNAVAILABLE, Reason.MODEL_TIMEOUT}
)
"""Failures after which nobody knows whether the model was asked."""


class BudgetReachedError(InterlockError):
    """A question that was not asked, or not asked to its end, for want of budget."""

    def __init__(self, reached: e.BudgetReached, calls: Any = ()) -> None:
        super().__init__(
            Reason.RUN_BUDGET_REACHED,
            _said(reached),
            fix="Raise it with `interlock budget set`; the run goes on then.",
            metadata={
                "scope": reached.scope,
                "key": reached.key,
                "limit_micros": str(reached.limit_micros),
                "taken_micros": str(reached.taken_micros),
                "needed_micros": str(reached.needed_micros),
            },
        )
        self.reached = reached
        self.exchanges = calls


class Spending:
    """Holds back and settles; `owner` is this orchestrator."""

    def __init__(self, database: Database, ids: Ids, owner: str) -> None:
        self._database = database
        self._ids = ids
        self._owner = owner

    async def ask(self, run: Run, step: int, request: Any, answer: Answer) -> Any:
        """The planner's response to the request. Raises BudgetReachedError, and what `answer` raises."""
        asking = _asking(run, step)
        caps = await _sure(lambda: store.caps(self._database, asking))
        if not caps:
            return await self._asked(asking, None, 0, answer)
        unpriced = max(cap.unpriced_micros for cap in caps)
        request.terms.max_cost_micros, request.terms.unpriced_call_micros = 0, unpriced
        response = await answer()
        told = _wants(response)
        if told is None:
            await self._settled(asking, await self._held(asking, 0, 0), response, unpriced)
            return response
        if "needed_micros" not in told:
            raise BudgetReachedError(_reached(caps[0], step, model=told.get("unpriced_model", "")))
        least = int(told["needed_micros"])
        await _sure(lambda: store.count_lost(self._database, run.run_id, _ended(run)))
        held, micros = await self._hold(asking, least, max(least, int(told["worst_micros"])))
        request.terms.max_cost_micros = micros
        response = await self._asked(asking, held, unpriced, answer, micros)
        if (again := _wants(response)) is not None:
            cap = min(caps, key=lambda each: each.limit_micros)
            needed = int(again.get("needed_micros", least))
            raise BudgetReachedError(_reached(cap, step, needed=needed, taken=micros), response.exchanges)
        return response

    async def _asked(
        self, asking: Asking, held: str | None, unpriced: int, answer: Answer, micros: int = 0
    ) -> Any:
        try:
            response = await answer()
        except InterlockError as error:
            if held is not None:
                kept = micros if error.reason in _UNSURE else 0
                await _sure(lambda: store.settle(self._database, held, Cost(kept)))
            raise
        await self._settled(asking, held or await self._held(asking, 0, 0), response, unpriced, micros)
        return response

    async def _hold(self, asking: Asking, least: int, most: int) -> tuple[str, int]:
        new = self._ids.new("res")
        held, cap = await _sure(
            lambda: store.hold(self._database, asking, new_id=new, owner=self._owner, least=least, most=most)
        )
        if cap is not None:
            raise BudgetReachedError(_reached(cap, asking.step, needed=least, taken=cap.taken_micros))
        return new, held

    async def _held(self, asking: Asking, least: int, most: int) -> str:
        return (await self._hold(asking, least, most))[0]

    async def _settled(
        self, asking: Asking, held: str, response: Any, unpriced: int, micros: int = 0
    ) -> None:
        calls = [exchange.call for exchange in response.exchanges]
        known = [call.cost.total.micros for call in calls if call.cost.HasField("total")]
        count = len(calls) - len(known)
        counted = sum(known) + count * unpriced
        if response.HasField("failure") and response.failure.reason == Reason.MODEL_TIMEOUT.value:
            counted = max(counted, micros)  # the call that was given up may have to be paid for
        if count and not unpriced:
            counted = max(counted, micros)  # unknown is not nothing
        last = calls[-1] if calls else None
        cost = Cost(
            counted,
            last.purpose if last else "",
            last.model if last else "",
            sum(known) if known else None,
            len(calls),
            count,
            _tokens(calls, "prompt_tokens"),
            _tokens(calls, "completion_tokens"),
        )
        await _sure(lambda: store.settle(self._database, held, cost))


async def _sure(write: Callable[[], Awaitable[T]]) -> T:
    """Waits for the database: what was paid for is not lost because it is away."""
    while True:
        try:
            return await write()
        except InterlockError as error:
            if error.reason is not Reason.DATABASE_UNAVAILABLE:
                raise
            await asyncio.sleep(_RETRY_SECONDS)


def _asking(run: Run, step: int) -> Asking:
    budget = run.budget
    return Asking(
        run.run_id,
        step,
        run.workspace_id,
        run.created_by,
        budget.max_cost_micros,
        budget.unpriced_call_micros,
        run.spent.cost_micros or 0,
    )


def _ended(run: Run) -> list[int]:
    return [step.number for step in run.steps if step.state in STEP_FINAL]


def _wants(response: Any) -> dict[str, str] | None:
    """What the planner says is missing, where it did not ask for want of money."""
    if not response.HasField("failure") or response.failure.reason != Reason.RUN_BUDGET_REACHED.value:
        return None
    return dict(response.failure.metadata)


def _tokens(calls: Any, name: str) -> int | None:
    known = [getattr(call.cost, name) for call in calls if call.cost.HasField(name)]
    return sum(known) if known else None


def _reached(cap: Cap, step: int, *, needed: int = 0, taken: int = 0, model: str = "") -> e.BudgetReached:
    return e.BudgetReached(cap.scope, cap.key, cap.day, cap.limit_micros, taken, needed, model, step=step)


def _said(reached: e.BudgetReached) -> str:
    whose = f"The budget of the {reached.scope} {reached.key}"
    if reached.unpriced_model:
        return f"{whose} allows no call of {reached.unpriced_model}, whose price is not known."
    return (
        f"{whose} of {reached.limit_micros} micro-dollars has {reached.taken_micros} taken; the next call of a model "
        f"could cost {reached.needed_micros}."
    )
