"""Carries out one action to its end: repeats what may be repeated, and turns final errors into results."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from interlock.common import logs, telemetry
from interlock.common.clock import Clock
from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.convert import results
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import decide_approval, decide_budget, decide_run, decide_step, undo
from interlock.orchestrator.domain.chain import parse_time
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.model import Failure, ModelCall, Run
from interlock.orchestrator.policies import Policies
from interlock.orchestrator.worker.asking import QuestionFailedError
from interlock.orchestrator.worker.done import Done
from interlock.orchestrator.worker.executing import Executing
from interlock.orchestrator.worker.judging import Judging
from interlock.orchestrator.worker.line import Line
from interlock.orchestrator.worker.planning import PlanAsking
from interlock.orchestrator.worker.spending import BudgetReachedError
from interlock.orchestrator.worker.thinking import Thinking
from interlock.orchestrator.worker.troubles import Troubles

_log = logs.get("worker")
_WAITS = frozenset(
    {Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED, Reason.RESOURCE_EXHAUSTED, Reason.WORKSPACE_BUSY}
)
"""Errors that pass: the executor is away or full. The step waits for it, however long that takes."""

_RULED = (a.AskModel, a.Draft, a.Propose, a.Prepare, a.Apply)
"""What a step does after the rules have decided about it, and only while what decided is in force."""

_PLANNER_TRIES = 6
_BACKOFF = (0.05, 5.0)
_LONGEST_SLEEP = 3600.0

Perform = Callable[[Run, Any, int], Awaitable[Done]]


class Performer:
    """Performs actions of any run. Safe for any number of tasks of one loop."""

    def __init__(
        self,
        executing: Executing,
        thinking: Thinking,
        planning: PlanAsking,
        judging: Judging,
        policies: Policies,
        line: Line,
        clock: Clock,
        troubles: Troubles,
    ) -> None:
        self._clock = clock
        self._troubles = troubles
        self._policies = policies
        self._line = line
        self._table: dict[type[a.Action], Perform] = {
            a.Judge: judging.judge,
            a.Propose: executing.propose,
            a.Prepare: executing.prepare,
            a.Apply: executing.apply,
            a.Discard: executing.discard,
            a.Restore: executing.restore,
            a.TakeOut: executing.take_out,
            a.AskModel: thinking.ask,
            a.Draft: thinking.draft,
            a.AskPlan: planning.plan,
            a.Due: self._due,
            a.Begin: self._begin,
        }

    async def perform(self, run: Run, action: a.Action, epoch: int) -> Done:
        """The action's result. Raises EPOCH_STALE when another orchestrator drives the run."""
        about = _attributes(run, action) if telemetry.enabled() else None
        with telemetry.span(_span(action), traceparent=run.traceparent, attributes=about):
            try:
                return await self._tried(run, action, epoch)
            finally:
                self._troubles.forget(run.run_id, action)

    async def _tried(self, run: Run, action: a.Action, epoch: int) -> Done:
        tries, said = 0, ""
        while True:
            try:
                if isinstance(action, _RULED):
                    self._policies.check_current(run, run.steps[action.step - 1])
                return await self._table[type(action)](run, action, epoch)
            except InterlockError as error:
                tries += 1
                if error.reason is Reason.EPOCH_STALE:
                    raise
                if not _passes(error, tries):
                    return _failure(action, error)
                self._troubles.note(run.run_id, action, error, self._clock.now())
                if error.message != said:  # why, once; what goes on as it was is no news
                    said = error.message
                    _log.warning(
                        "waiting",
                        action=_span(action),
                        reason=error.reason.value,
                        why=said,
                        fix=error.fix,
                    )
                await asyncio.sleep(_delay(tries, error.retry_after))

    async def _begin(self, run: Run, action: a.Begin, epoch: int) -> Done:
        await self._line.turn(run.run_id)
        return Done(decide_run.begin)

    async def _due(self, run: Run, action: a.Due, epoch: int) -> Done:
        deadline = parse_time(action.at)
        # The wall clock may be set while we sleep, so long sleeps look at it again.
        while (left := (deadline - self._clock.now()).total_seconds()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left, _LONGEST_SLEEP))
        return Done(lambda r, ctx: decide_approval.due(r, ctx, action.approval_id))


def _passes(error: InterlockError, tries: int) -> bool:
    if error.reason is Reason.PLANNER_UNAVAILABLE:
        return tries < _PLANNER_TRIES
    return error.reason in _WAITS


def _failure(action: a.Action, error: InterlockError) -> Done:
    if isinstance(error, BudgetReachedError):
        return _held(action, error)
    if isinstance(error, QuestionFailedError):
        calls, payloads = error.calls, error.payloads
    else:
        calls, payloads = results.failed_calls(error.metadata)
    failure = decide_run.failure_of(error)
    return Done(partial(_failed, action=action, failure=failure, calls=calls), payloads)


def _held(action: a.Action, error: BudgetReachedError) -> Done:
    calls, payloads = results.calls(error.exchanges)
    decide = partial(
        decide_budget.budget_held,
        reached=error.reached,
        failure=decide_run.failure_of(error),
        calls=calls,
        attempt=action.attempt if isinstance(action, a.StepAction) else 0,
        planning=action.planning if isinstance(action, a.AskPlan) else None,
    )
    return Done(decide, payloads)


def _failed(
    run: Run, ctx: Context, *, action: a.Action, failure: Failure, calls: list[ModelCall]
) -> list[Any]:
    if isinstance(action, a.AskPlan):
        return decide_run.planning_failed(run, ctx, failure, calls, planning=action.planning)
    if isinstance(action, a.Restore):
        return undo.rollback_failed(run, ctx, action.operation_id, failure)
    if isinstance(action, a.TakeOut):
        return undo.revert_failed(run, ctx, action.operation_id, failure)
    if isinstance(action, a.Discard):
        # The executor cannot throw it away; it is never published, and its own clean-up gets it.
        return decide_step.discarded(run, ctx, action.step, action.attempt)
    assert isinstance(action, a.StepAction)
    return decide_step.action_failed(run, ctx, action.step, action.attempt, failure, calls, action=action)


def _delay(tries: int, asked: float | None) -> float:
    backoff = min(_BACKOFF[0] * 2.0 ** min(tries, 10), _BACKOFF[1])
    return max(asked or 0.0, backoff * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret


def _span(action: a.Action) -> str:
    return f"action {a.name(action)}"


def _attributes(run: Run, action: a.Action) -> dict[str, Any]:
    known: dict[str, Any] = {"interlock.run_id": run.run_id, "interlock.workspace_id": run.workspace_id}
    if isinstance(action, a.StepAction):
        step = run.steps[action.step - 1]
        known |= {
            "interlock.step": action.step,
            "interlock.attempt": action.attempt,
            "interlock.step.kind": step.spec.kind.value,
        }
    return known
