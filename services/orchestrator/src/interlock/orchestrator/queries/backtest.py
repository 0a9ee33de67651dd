"""BacktestPolicy: a policy tried on what is in the journal. Reads only; the same journal gives the same answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from interlock.common.access.scope import require
from interlock.common.identity import current_identity
from interlock.common.policy.document import parse_policy
from interlock.orchestrator.convert import rulings, texts, views
from interlock.orchestrator.convert.times import moment
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.evolve import Recorded, evolve
from interlock.orchestrator.domain.model import Prepared, Ruling, Run, Step
from interlock.orchestrator.domain.replaying import ASKED, DENIED, NOT_ASKED, Trial, began
from interlock.orchestrator.policies import Policies
from interlock.orchestrator.runs.book import recorded
from interlock.orchestrator.store.readers import events, others, runs
from interlock.v1 import rules_pb2, step_pb2

_PAGE: Final = 500
_MOST_RUNS: Final = 1000
_BEGINS = (e.StepStarted, e.StepEdited, e.PreviewSuperseded)


async def backtest(
    deps: Deps, message: rules_pb2.BacktestPolicyRequest
) -> AsyncGenerator[rules_pb2.BacktestPolicyResponse, None]:
    """The steps that would have been decided otherwise, then the sum. Raises POLICY_INVALID, RUN_NOT_FOUND."""
    policy = parse_policy(message.document)
    tried = Policies(policy)
    sum_ = rules_pb2.BacktestSummary(
        policy=rules_pb2.PolicyRef(name=policy.name, version=policy.version, digest=policy.digest)
    )
    async for run_id in _chosen(deps, message, sum_):
        sum_.runs += 1
        for trial in await _Replay(deps, tried, run_id).trials():
            _count(sum_, trial[0])
            if trial[0].differs or message.all:
                yield rules_pb2.BacktestPolicyResponse(step=_view(run_id, *trial))
    yield rules_pb2.BacktestPolicyResponse(summary=sum_)


async def _chosen(
    deps: Deps, message: rules_pb2.BacktestPolicyRequest, sum_: rules_pb2.BacktestSummary
) -> AsyncIterator[str]:
    """The runs to look at, newest first. Raises INVALID_ARGUMENT."""
    since, until = moment(message, "since"), moment(message, "until")
    if message.run_ids:
        for run_id in sorted(set(message.run_ids), reverse=True):
            head = await runs.get(deps.database, run_id)
            labels = await others.workspace_labels(deps.database, head.workspace_id or "")
            require(current_identity(), labels, run_id)
            yield run_id
        return
    left, before = message.max_runs or _MOST_RUNS, None
    while True:
        rows = await runs.list_runs(
            deps.database, scope=current_identity().scope, after=before, limit=min(_PAGE, left + 1)
        )
        for row in rows:
            if since is not None and row.created_at < since:
                return
            if until is not None and row.created_at >= until:
                continue
            if not left:
                sum_.more = True
                return
            left -= 1
            yield row.id
        if not rows:
            return
        before = rows[-1].id


class _Replay:
    """One run's journal, folded once more, with the tried rules asked where rules are asked."""

    def __init__(self, deps: Deps, tried: Policies, run_id: str) -> None:
        self._deps, self._tried, self._run_id = deps, tried, run_id
        self._open: dict[int, Trial] = {}
        self._done: list[tuple[Trial, datetime]] = []
        self._begun: dict[int, datetime] = {}

    async def trials(self) -> list[tuple[Trial, datetime]]:
        """Every attempt with the time at which it began, by step and attempt."""
        run: Run | None = None
        seq = 0
        while rows := await events.of_run(self._deps.database, self._run_id, seq, _PAGE):
            for row in rows:
                seq = row.seq
                record = recorded(row)
                run = evolve(run, record)
                await self._take(run, record)
        for number in list(self._open):
            self._close(number)
        return sorted(self._done, key=lambda each: (each[0].step.number, each[0].step.attempt))

    async def _take(self, run: Run, record: Recorded) -> None:
        event = record.event
        if not event.step:
            return
        step = run.steps[event.step - 1]
        if isinstance(event, _BEGINS):
            self._close(event.step)
            self._begun[event.step] = record.at
            self._open[event.step] = began(step, run.policy, await self._rule(run, step))
            return
        trial = self._open.get(event.step)
        if trial is None:
            return
        trial.happened(event)
        if isinstance(event, e.StepPrepared) and event.prepared.effect_digest:
            effect = await self._effect(event.prepared)
            if effect is not None:
                trial.did(step, event.prepared, await self._rule(run, step, effect))

    async def _rule(self, run: Run, step: Step, effect: step_pb2.Effect | None = None) -> Ruling:
        found = await self._deps.payloads.get(texts.references(step.spec.input))
        ruling, _ = self._tried.rule(run, step, texts.inline(step.spec.input, found), effect)
        return replace(ruling, inputs_payload="")  # nothing is kept here, and its salt would differ each time

    async def _effect(self, prepared: Prepared) -> step_pb2.Effect | None:
        found = await self._deps.payloads.get([prepared.effect_payload])
        body = found.get(prepared.effect_payload)
        return None if body is None else step_pb2.Effect.FromString(body)

    def _close(self, number: int) -> None:
        trial = self._open.pop(number, None)
        if trial is not None:
            self._done.append((trial, self._begun[number]))


def _count(sum_: rules_pb2.BacktestSummary, trial: Trial) -> None:
    sum_.steps += 1
    if not trial.differs:
        return
    sum_.differs += 1
    sum_.newly_denied += trial.would == DENIED
    sum_.newly_asked += trial.would == ASKED
    sum_.newly_allowed += trial.would == NOT_ASKED


def _view(run_id: str, trial: Trial, at: datetime) -> rules_pb2.BacktestStep:
    return rules_pb2.BacktestStep(
        run_id=run_id,
        step=trial.step.number,
        attempt=trial.step.attempt,
        title=views.title(trial.step.spec),
        was=trial.was,
        would=trial.would,
        ruling=rulings.view(trial.ruling),
        differs=trial.differs,
        unobserved=trial.unobserved,
        at=views.timestamp(at),
    )
