"""Approvals: what waits for a decision, and deciding."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping

from interlock.client.connection import Connection
from interlock.client.streams import resuming
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import approval_pb2 as pb
from interlock.v1.decision_pb2 import (
    ApprovalEventKind,
    ApprovalRecord,
    ApprovalState,
    Approve,
    Decision,
    Edit,
    Reject,
    RejectAction,
    Skip,
)
from interlock.v1.envelope_pb2 import EnvelopeBounds
from interlock.v1.step_pb2 import StepInput

_ASKING = frozenset(
    {ApprovalEventKind.APPROVAL_EVENT_KIND_PENDING, ApprovalEventKind.APPROVAL_EVENT_KIND_REQUESTED}
)
_REJECT_ACTIONS = {
    "fail": RejectAction.REJECT_ACTION_FAIL_RUN,
    "skip": RejectAction.REJECT_ACTION_SKIP_STEP,
    "replan": RejectAction.REJECT_ACTION_REPLAN,
}


class ApprovalCalls(Connection):
    """Calls of the approval service."""

    async def list_approvals(
        self, *, states: Iterable[int] = (), matching: pb.ApprovalFilter | None = None, limit: int = 100
    ) -> list[ApprovalRecord]:
        """Approvals, oldest first, without previews; pending ones unless `states` says otherwise."""
        found: list[ApprovalRecord] = []
        request = pb.ListApprovalsRequest(filter=matching)
        request.states.extend(states)  # type: ignore[arg-type]  # numbers of ApprovalState
        while len(found) < limit:
            request.page_size = min(500, limit - len(found))
            page = await self.call(self.approval.ListApprovals, request)
            found.extend(page.approvals)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        return found

    async def get_approval(self, approval_id: str) -> ApprovalRecord:
        """One approval with its full preview."""
        request = pb.GetApprovalRequest(approval_id=approval_id)
        return (await self.call(self.approval.GetApproval, request)).approval

    async def subscribe_approvals(
        self, matching: pb.ApprovalFilter | None = None, *, cursor: str = "", with_preview: bool = True
    ) -> AsyncIterator[pb.SubscribeResponse]:
        """What is pending, then every change, for ever; resumes by itself. Includes heartbeats.

        A cursor older than what is kept is followed by messages with `reset`: what is pending now, instead of what
        was missed. `for_me` in the filter chooses what the caller may approve.
        """

        def open_at(position: str) -> AsyncIterator[pb.SubscribeResponse]:
            request = pb.SubscribeRequest(filter=matching, cursor=position, with_preview=with_preview)
            return self.stream(self.approval.Subscribe, request)

        while True:
            async for message in resuming(open_at, cursor, self.delays):
                cursor = message.cursor or cursor
                yield message

    async def approvals(
        self,
        *,
        run_id: str = "",
        workspace_id: str = "",
        labels: Mapping[str, str] | None = None,
        workspace_labels: Mapping[str, str] | None = None,
        for_me: bool = False,
        with_preview: bool = True,
    ) -> AsyncIterator[ApprovalRecord]:
        """Approvals that wait for a decision: those pending now, then each new one as it is asked, each once.

        With `for_me` only those that the caller may approve.
        """
        chosen = pb.ApprovalFilter(
            run_id=run_id,
            workspace_id=workspace_id,
            labels=labels or {},
            workspace_labels=workspace_labels or {},
            for_me=for_me,
        )
        told: set[str] = set()
        again: set[str] | None = None
        async for message in self.subscribe_approvals(chosen, with_preview=with_preview):
            if message.reset and message.HasField("event"):
                again = (again or set()) | {message.event.approval.approval_id}
            elif message.reset:
                # Whatever the snapshot has not is no longer for the caller: should it come back, it is told again.
                told, again = told & (again or set()), None
            if not message.HasField("event"):
                continue
            approval = message.event.approval
            if message.event.kind not in _ASKING:
                if approval.state != ApprovalState.APPROVAL_STATE_PENDING:
                    told.discard(approval.approval_id)
            elif approval.approval_id not in told:
                told.add(approval.approval_id)
                yield approval

    async def decide(
        self,
        approval: ApprovalRecord,
        verdict: str,
        comment: str = "",
        *,
        on_reject: str = "fail",
        edit: StepInput | None = None,
        envelope: EnvelopeBounds | None = None,
        on_behalf_of: str = "",
        channel: str = "sdk",
        request_id: str = "",
    ) -> ApprovalRecord:
        """Decide about exactly what `approval` shows: its digest goes along, another one is refused.

        Where the policy asks for several people, the answer is PENDING with one more vote until the last of them.

        Args:
            approval: as received from `approvals`, `get_approval` or `subscribe_approvals`.
            verdict: `approve`, `reject`, `skip` or `edit`.
            comment: why; shown to everyone and journaled.
            on_reject: what a rejection leads to: `fail` the run, `skip` the step, or `replan`.
            edit: the new input, of the same kind, for `edit`.
            envelope: with an approval, what later steps of the run may do without asking.
            on_behalf_of: whose right to decide is used, by a delegation of theirs to the caller.
            channel: through what the decision came; at most 40 characters.

        Raises APPROVAL_ALREADY_DECIDED, APPROVAL_ALREADY_VOTED, APPROVAL_EXPIRED, APPROVAL_DIGEST_MISMATCH,
        PERMISSION_DENIED.
        """
        decision = Decision(
            comment=comment, channel=channel, digest=approval.digest, on_behalf_of=on_behalf_of
        )
        _set_verdict(decision, verdict, on_reject, edit)
        if envelope is not None and verdict == "approve":
            decision.approve.envelope.CopyFrom(envelope)
        request = pb.DecideRequest(
            request_id=self.request_id(request_id),
            approval_id=approval.approval_id,
            run_id=approval.run_id,
            step=approval.step,
            decision=decision,
        )
        return (await self.call(self.approval.Decide, request)).approval

    async def decide_ahead(
        self,
        run_id: str,
        step: int,
        digest: str,
        verdict: str,
        comment: str = "",
        *,
        on_reject: str = "fail",
        on_behalf_of: str = "",
        channel: str = "sdk",
        request_id: str = "",
    ) -> ApprovalRecord:
        """Decide about what a step asks, or will ask with this digest: `approve`, `reject` or `skip`.

        A decision that comes before its question is kept for an hour (`kept_until` of the answer) and given when
        exactly that is asked; another digest asks people as ever.
        """
        decision = Decision(comment=comment, channel=channel, digest=digest, on_behalf_of=on_behalf_of)
        _set_verdict(decision, verdict, on_reject, None)
        request = pb.DecideRequest(
            request_id=self.request_id(request_id), run_id=run_id, step=step, decision=decision
        )
        return (await self.call(self.approval.Decide, request)).approval


def _set_verdict(decision: Decision, verdict: str, on_reject: str, edit: StepInput | None) -> None:
    if verdict == "approve":
        decision.approve.CopyFrom(Approve())
    elif verdict == "skip":
        decision.skip.CopyFrom(Skip())
    elif verdict == "reject" and on_reject in _REJECT_ACTIONS:
        decision.reject.CopyFrom(Reject(action=_REJECT_ACTIONS[on_reject]))
    elif verdict == "edit" and edit is not None:
        decision.edit.CopyFrom(Edit(input=edit))
    else:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"{verdict!r} is not a complete verdict.",
            field="verdict",
            fix="Use approve, skip, reject (on_reject: fail, skip or replan), or edit with the new input.",
        )
