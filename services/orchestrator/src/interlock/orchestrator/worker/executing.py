"""Actions of the executor: propose, prepare, apply, discard, restore, take out."""

from __future__ import annotations

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.clients.executors import Executors
from interlock.orchestrator.convert import envelopes, results, texts, undoing
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import decide_step, undo
from interlock.orchestrator.domain.asking import refusal
from interlock.orchestrator.domain.keys import Keys
from interlock.orchestrator.domain.model import Gate, Ruling, Run
from interlock.orchestrator.policies import Policies
from interlock.orchestrator.runs.payloads import Payloads
from interlock.orchestrator.store.records import Payload
from interlock.orchestrator.worker.comparing import changed_since
from interlock.orchestrator.worker.done import Done
from interlock.v1 import executor_pb2, step_pb2

_GONE = frozenset(
    {
        Reason.EFFECT_NOT_FOUND,
        Reason.EFFECT_ALREADY_APPLIED,
        Reason.EFFECT_DISCARDED,
        Reason.EFFECT_NOT_OWNED,
    }
)
"""Reasons why there is nothing of this orchestrator's to throw away; what is someone else's is left alone."""


class Executing:
    """Performs the actions that concern the workspace. `keys` show the executor whose the effects are."""

    def __init__(self, executor: Executors, payloads: Payloads, keys: Keys, policies: Policies) -> None:
        self._executor = executor
        self._payloads = payloads
        self._keys = keys
        self._policies = policies

    async def propose(self, run: Run, action: a.Propose, epoch: int) -> Done:
        """Asks what would run."""
        request = executor_pb2.ProposeRequest(
            key=_key(run, action),
            workspace_id=run.workspace_id,
            action=await self._action(run, action),
            epoch=epoch,
            driver_key=self._keys.driver(run.run_id),
            policy_digest=_policy(run, action),
        )
        response = await self._executor.step(run.workspace_id, "propose", request)
        await self._compare(run, action, Gate.COMMAND, response.effect)
        facts, payloads = results.effect(response.effect, response.limits, with_result=False)
        return Done(lambda r, ctx: decide_step.proposed(r, ctx, action.step, action.attempt, facts), payloads)

    async def prepare(self, run: Run, action: a.Prepare, epoch: int) -> Done:
        """Computes the effect in a fork."""
        request = executor_pb2.PrepareRequest(
            key=_key(run, action),
            workspace_id=run.workspace_id,
            action=await self._action(run, action),
            epoch=epoch,
            expected_request_digest=action.expected_request,
            owner_key_digest=self._keys.owner_digest(run.run_id, action.step, action.attempt),
            driver_key=self._keys.driver(run.run_id),
            policy_digest=_policy(run, action),
        )
        response = await self._executor.step(run.workspace_id, "prepare", request)
        failed = response.failure if response.HasField("failure") else None
        if failed is None:
            await self._compare(run, action, Gate.EFFECT, response.effect)
        failure = results.failure(failed) if failed is not None else None
        ruling, kept = await self._rule(run, action, response.effect) if failed is None else (None, [])
        if ruling is not None and refusal(run.steps[action.step - 1], ruling) is not None:
            response.effect.ClearField("content")  # what was read in vain is shown to nobody, nor to a model
        facts, payloads = results.effect(response.effect, response.limits, with_result=failed is None)
        seen = envelopes.seen(response.effect)
        return Done(
            lambda r, ctx: decide_step.prepared(
                r, ctx, action.step, action.attempt, facts, failure, ruling, seen
            ),
            [*payloads, *kept],
        )

    async def apply(self, run: Run, action: a.Apply, epoch: int) -> Done:
        """Publishes the effect."""
        request = executor_pb2.ApplyRequest(
            key=_key(run, action),
            effect_digest=action.effect_digest,
            approved_digest=action.approved_digest,
            approval_id=action.approval_id,
            epoch=epoch,
            owner_key=self._keys.owner(run.run_id, action.step, action.attempt),
            driver_key=self._keys.driver(run.run_id),
        )
        response = await self._executor.step(run.workspace_id, "apply", request)
        head, merged, kept = response.head_tree, response.merged_drift, results.kept(response)
        return Done(
            lambda r, ctx: decide_step.applied(
                r, ctx, action.step, action.attempt, head, merged=merged, kept=kept
            )
        )

    async def discard(self, run: Run, action: a.Discard, epoch: int) -> Done:
        """Stops or throws away an attempt; one that is gone already counts."""
        request = executor_pb2.DiscardRequest(
            key=_key(run, action),
            epoch=epoch,
            owner_key=self._keys.owner(run.run_id, action.step, action.attempt),
            driver_key=self._keys.driver(run.run_id),
        )
        try:
            await self._executor.step(run.workspace_id, "discard", request)
        except InterlockError as error:
            if error.reason not in _GONE:
                raise
        return Done(lambda r, ctx: decide_step.discarded(r, ctx, action.step, action.attempt))

    async def restore(self, run: Run, action: a.Restore, epoch: int) -> Done:
        """Goes back to an older tree: around what others did since, or to that very one."""
        if action.from_tree:
            return await self._go_back(run, action, epoch)
        request = executor_pb2.RestoreTreeRequest(
            request_id=action.operation_id,
            workspace_id=run.workspace_id,
            tree=action.tree,
            expected_head=action.from_tree,
            run_id=run.run_id,
            epoch=epoch,
            driver_key=self._keys.driver(run.run_id),
        )
        response = await self._executor.restore(request)
        head, previous, kept = response.head_tree, response.previous_tree, results.kept(response)
        return Done(lambda r, ctx: undo.rolled_back(r, ctx, action.operation_id, head, previous, kept=kept))

    async def _go_back(self, run: Run, action: a.Restore, epoch: int) -> Done:
        request = undoing.going_back(run, action)
        request.epoch = epoch
        request.driver_key = self._keys.driver(run.run_id)
        response = await self._executor.revert(request)
        head, previous, merged = response.head_tree, response.previous_tree, response.merged
        kept = results.kept(response)
        return Done(
            lambda r, ctx: undo.rolled_back(
                r, ctx, action.operation_id, head, previous, merged=merged, kept=kept
            )
        )

    async def take_out(self, run: Run, action: a.TakeOut, epoch: int) -> Done:
        """Takes one step's effect out of the workspace."""
        request = executor_pb2.RevertTreeRequest(
            request_id=action.operation_id,
            workspace_id=run.workspace_id,
            from_tree=action.from_tree,
            to_tree=action.to_tree,
            run_id=run.run_id,
            epoch=epoch,
            driver_key=self._keys.driver(run.run_id),
        )
        response = await self._executor.revert(request)
        head, previous, merged = response.head_tree, response.previous_tree, response.merged
        kept = results.kept(response)
        return Done(
            lambda r, ctx: undo.reverted(
                r, ctx, action.operation_id, head, previous, merged=merged, kept=kept
            )
        )

    async def _rule(
        self, run: Run, action: a.Prepare, effect: step_pb2.Effect
    ) -> tuple[Ruling | None, list[Payload]]:
        """What the rules say about what the step did, where rules decide about it."""
        step = run.steps[action.step - 1]
        if not step.judge:
            return None, []
        found = await self._payloads.need(texts.references(step.spec.input))
        return self._policies.rule(run, step, texts.inline(step.spec.input, found), effect)

    async def _compare(self, run: Run, action: a.StepAction, gate: Gate, effect: step_pb2.Effect) -> None:
        step = run.steps[action.step - 1]
        found = await changed_since(self._executor, self._payloads, run, step, gate, effect)
        if found is not None:
            effect.changed_since.CopyFrom(found)

    async def _action(self, run: Run, action: a.StepAction) -> executor_pb2.Action:
        step = run.steps[action.step - 1]
        digests = [*texts.references(step.spec.input), step.draft_payload]
        found = await self._payloads.need(digests)
        draft = found[step.draft_payload].decode() if step.draft_payload else None
        return results.action(step.spec, texts.inline(step.spec.input, found), draft)


def _policy(run: Run, action: a.StepAction) -> str:
    ruling = run.steps[action.step - 1].ruling
    return ruling.digest if ruling else ""


def _key(run: Run, action: a.StepAction) -> executor_pb2.EffectKey:
    return executor_pb2.EffectKey(run_id=run.run_id, step=action.step, attempt=action.attempt)
