"""RecordDecision without an approval: about what a step asks, or will ask; kept until then."""

from __future__ import annotations

from dataclasses import replace

from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import current_identity
from interlock.orchestrator.commands import delegate
from interlock.orchestrator.commands.mutate import request_of
from interlock.orchestrator.convert import approvals as convert
from interlock.orchestrator.convert import inputs
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain import early
from interlock.orchestrator.queries.approvals import record_view, row_after
from interlock.v1 import orchestrator_pb2 as o


async def decide_ahead(deps: Deps, message: o.RecordDecisionRequest) -> o.RecordDecisionResponse:
    """Records it where the step asks about that digest, and keeps it where it has not asked yet."""
    if not message.run_id or not message.step:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            "The decision names neither an approval nor a step of a run.",
            field="approval_id",
            fix="Give approval_id, or run_id and step.",
        )
    caller = current_identity()
    decision, payloads = inputs.decision(message.decision, by=caller)
    owners = {caller.subject: caller.owner}
    if decision.on_behalf_of:
        run = await deps.book.refresh(message.run_id)
        labels = await deps.labels.of(run.workspace_id)
        using = await delegate.used(deps, caller, decision.on_behalf_of, labels)
        decision = replace(decision, delegation=using.id)
        owners[decision.on_behalf_of] = using.owner
    outcome = await deps.transactions.change(
        message.run_id,
        lambda run, ctx: early.decide_or_keep(run, ctx, message.step, decision),
        subject=caller.subject,
        owners=owners,
        payloads=payloads,
        request=request_of(message, lambda run: o.RecordDecisionResponse()),
    )
    run = outcome.run
    step = run.steps[message.step - 1]
    mine = (decision.digest, decision.subject)
    kept = next((each for each in step.early if (each.digest, each.subject) == mine), None)
    if kept is not None:
        return o.RecordDecisionResponse(approval=convert.kept(run, step, kept))
    row = await row_after(deps, outcome, step.last_approval_id)
    return o.RecordDecisionResponse(approval=await record_view(deps, row, with_preview=False))
