"""The action of the rules: what they say about a step before it begins."""

from __future__ import annotations

from interlock.orchestrator.convert import texts
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import decide_step
from interlock.orchestrator.domain.model import Run
from interlock.orchestrator.policies import Policies
from interlock.orchestrator.runs.payloads import Payloads
from interlock.orchestrator.worker.done import Done


class Judging:
    """Evaluates the policies in force over what a step asks for."""

    def __init__(self, policies: Policies, payloads: Payloads) -> None:
        self._policies = policies
        self._payloads = payloads

    async def judge(self, run: Run, action: a.Judge, epoch: int) -> Done:
        """What is to become of the attempt."""
        step = run.steps[action.step - 1]
        found = await self._payloads.need(texts.references(step.spec.input))
        ruling, payloads = self._policies.rule(run, step, texts.inline(step.spec.input, found))
        return Done(lambda r, ctx: decide_step.judged(r, ctx, action.step, action.attempt, ruling), payloads)
