"""RecordDecision: one transaction on the run's row decides; every loser gets a typed answer."""

from __future__ import annotations

from dataclasses import replace

from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import current_identity
from interlock.orchestrator.commands import delegate
from interlock.orchestrator.commands.decide_ahead import decide_ahead
from interlock.orchestrator.commands.mutate import request_of
from interlock.orchestrator.convert import inputs
from interlock.orchestrator.convert.approvals import preview_digest, record_of
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain import decide_approval
from interlock.orchestrator.queries.approvals import record_view, row_after
from interlock.orchestrator.store.readers import approvals
from interlock.v1 import orchestrator_pb2 as o


async def record_decision(deps: Deps, message: o.RecordDecisionRequest) -> o.RecordDecisionResponse:
    """Records the first decision about an approval."""
    if not message.approval_id:
        return await decide_ahead(deps, message)
    row = deps.asked.newest(message.approval_id) or await approvals.get(deps.database, message.approval_id)
    _check_target(row, message)
    if message.decision.HasField("approve"):
        # What cannot be shown as it was recorded cannot have been reviewed.
        await deps.payloads.need([preview_digest(row.doc)])
    caller = current_identity()
    decision, payloads = inputs.decision(message.decision, by=caller)
    owners = {caller.subject: caller.owner}
    if decision.on_behalf_of:
        labels = await deps.labels.of(record_of(row.doc).workspace_id)
        using = await delegate.used(deps, caller, decision.on_behalf_of, labels)
        decision = replace(decision, delegation=using.id)
        owners[decision.on_behalf_of] = using.owner
    request = request_of(message, lambda run: o.RecordDecisionResponse())
    try:
        outcome = await deps.transactions.change(
            row.run_id,
            lambda run, ctx: decide_approval.decide(run, ctx, row.id, decision),
            subject=caller.subject,
            owners=owners,
            payloads=payloads,
            request=request,
        )
    except InterlockError as error:
        if error.reason is not Reason.APPROVAL_ALREADY_DECIDED:
            raise
        raise _already_decided(await approvals.get(deps.database, row.id)) from None
    newest = await row_after(deps, outcome, row.id)
    return o.RecordDecisionResponse(approval=await record_view(deps, newest, with_preview=False))


def _check_target(row: approvals.ApprovalRow, message: o.RecordDecisionRequest) -> None:
    other_run = message.run_id and message.run_id != row.run_id
    other_step = message.step and message.step != row.step
    if other_run or other_step:
        raise InterlockError(
            Reason.APPROVAL_WRONG_STEP,
            f"{row.id} belongs to step {row.step} of {row.run_id}.",
            field="run_id" if other_run else "step",
            metadata={"run_id": row.run_id, "step": str(row.step)},
        )


def _already_decided(row: approvals.ApprovalRow) -> InterlockError:
    if row.state == "expired":
        return InterlockError(
            Reason.APPROVAL_EXPIRED,
            f"{row.id} expired.",
            metadata={"approval_id": row.id, "state": row.state},
        )
    record = record_of(row.doc)
    by, given = record.superseded_by, record.decision
    decided_at = row.resolved_at.isoformat() if row.resolved_at else ""
    return InterlockError(
        Reason.APPROVAL_ALREADY_DECIDED,
        f"{row.id} was {row.state}{f' by {by}' if by else f' by {row.subject}' if row.subject else ''} before.",
        fix="Look at what is pending now with `interlock approvals list`.",
        metadata={
            "approval_id": row.id,
            "state": row.state,
            "subject": row.subject,
            "resolved_at": decided_at,
            "channel": given.channel,
            "comment": given.comment[:500],
            **({"superseded_by": by} if by else {}),
        },
    )
