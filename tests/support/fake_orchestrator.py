"""A FAKE orchestrator: real gRPC, scripted content. It serves the approvals' part of the contract from a list.

It stands in for the real service where a test must choose exactly when things happen: batches, a snapshot that
is read while something is asked, lost connections, cursors that expire, refusals.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from interlock.common.addresses import Address
from interlock.common.errors import InterlockError, Reason
from interlock.common.server import ServerSpec, running
from interlock.v1 import decision_pb2 as d
from interlock.v1 import orchestrator_pb2 as pb
from interlock.v1 import orchestrator_pb2_grpc

DIGEST = "sha256:" + "ab" * 32


def approval_id(number: int) -> str:
    return f"apr-{number:026d}"


def record(
    number: int, *, run: str = "run-1", kind: str = "run_command", preview: str = "", **labels: str
) -> Any:
    """A pending approval."""
    approval = d.ApprovalRecord(
        approval_id=approval_id(number),
        run_id=run,
        step=number,
        state=d.APPROVAL_STATE_PENDING,
        digest=DIGEST,
        workspace_id="ws-1",
        labels=labels,
        title=f"approval {number}",
    )
    getattr(approval.spec.input, kind).SetInParent()
    approval.preview.diff = preview or f"diff of {number}"
    return approval


class FakeOrchestrator(orchestrator_pb2_grpc.OrchestratorServicer):
    """Positions count 1, 2, …; the cursor after position n is `at-n`."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.records: dict[str, Any] = {}
        self.decisions: list[Any] = []
        self.watches: list[str] = []
        self.metadata: list[dict[str, str]] = []
        self.oldest = 0
        self.refuse_watches: InterlockError | None = None
        self.snapshot_held: asyncio.Event | None = None
        """When set, a snapshot is sent only after it, with the position read before it."""
        self.leaves_out_known = False
        """Whether a stream that began with a snapshot leaves out the asking of what the snapshot held."""
        self.heartbeat = 0.05
        self._changed = asyncio.Condition()
        self._drop = 0

    @property
    def position(self) -> int:
        return len(self.events)

    async def request(self, *approvals: Any) -> None:
        """Ask; several approvals become one batch."""
        await self._append(*((d.APPROVAL_EVENT_KIND_REQUESTED, approval) for approval in approvals))

    async def resolve(self, *numbers: int, state: int = d.APPROVAL_STATE_APPROVED) -> None:
        changed = []
        for number in numbers:
            approval = d.ApprovalRecord()
            approval.CopyFrom(self.records[approval_id(number)])
            approval.state = state  # type: ignore[assignment]
            changed.append((d.APPROVAL_EVENT_KIND_RESOLVED, approval))
        await self._append(*changed)

    async def drop_watches(self) -> None:
        """Cut every feed, as a lost connection does."""
        async with self._changed:
            self._drop += 1
            self._changed.notify_all()

    async def _append(self, *changes: tuple[int, Any]) -> None:
        async with self._changed:
            for kind, approval in changes:
                self.records[approval.approval_id] = approval
                event = d.ApprovalEvent(kind=kind, approval=approval, position=self.position + 1)  # type: ignore[arg-type]
                self.events.append(event)
            self._changed.notify_all()

    async def WatchApprovals(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.watches.append(request.cursor)
        if self.refuse_watches is not None:
            raise self.refuse_watches
        drop = self._drop
        position = self.position
        known: set[str] = set()
        if request.cursor:
            position = int(request.cursor.removeprefix("at-"))
            if position < self.oldest:
                raise InterlockError(Reason.CURSOR_EXPIRED, "Too old.", field="cursor")
        else:
            if self.snapshot_held is not None:
                await self.snapshot_held.wait()
            for message in self._snapshot(position):
                known |= {event.approval.approval_id for event in message.events}
                yield message
        while drop == self._drop:
            fresh = self.events[position:]
            if fresh:
                position += len(fresh)
                if self.leaves_out_known:
                    fresh = [event for event in fresh if event.approval.approval_id not in known]
                yield pb.WatchApprovalsResponse(events=fresh, cursor=f"at-{position}")
                continue
            try:
                async with asyncio.timeout(self.heartbeat), self._changed:
                    await self._changed.wait()
            except TimeoutError:
                yield pb.WatchApprovalsResponse(cursor=f"at-{position}", caught_up=True)
        raise InterlockError(Reason.UNAVAILABLE, "Dropped by the test.")

    def _snapshot(self, position: int) -> list[Any]:
        pending = [r for r in self.records.values() if r.state == d.APPROVAL_STATE_PENDING]
        messages = [
            pb.WatchApprovalsResponse(
                events=[d.ApprovalEvent(kind=d.APPROVAL_EVENT_KIND_PENDING, approval=r, position=position)]
            )
            for r in pending
        ]
        return [*messages, pb.WatchApprovalsResponse(cursor=f"at-{position}", caught_up=True)]

    async def GetApprovalRecord(self, request: Any, context: Any) -> Any:
        return pb.GetApprovalRecordResponse(approval=self._get(request.approval_id))

    async def ListApprovalRecords(self, request: Any, context: Any) -> Any:
        states = set(request.states) or {d.APPROVAL_STATE_PENDING}
        found = [r for r in self.records.values() if r.state in states]
        start = int(request.page_token or 0)
        size = request.page_size or 100
        response = pb.ListApprovalRecordsResponse()
        for approval in found[start : start + size]:
            response.approvals.add().CopyFrom(approval)
            response.approvals[-1].ClearField("preview")
        if start + size < len(found):
            response.next_page_token = str(start + size)
        return response

    async def RecordDecision(self, request: Any, context: Any) -> Any:
        self.decisions.append(request)
        self.metadata.append({k: v for k, v in context.invocation_metadata() if isinstance(v, str)})
        approval = self._get(request.approval_id)
        if request.run_id and request.run_id != approval.run_id:
            raise InterlockError(Reason.APPROVAL_WRONG_STEP, "Another run's.", field="run_id")
        if approval.state != d.APPROVAL_STATE_PENDING:
            raise InterlockError(
                Reason.APPROVAL_ALREADY_DECIDED, "Decided.", metadata={"state": "APPROVED", "subject": "ada"}
            )
        if request.decision.digest != approval.digest:
            raise InterlockError(Reason.APPROVAL_DIGEST_MISMATCH, "Not this.", field="decision.digest")
        state = _STATES[request.decision.WhichOneof("verdict")]
        number = int(approval.approval_id.removeprefix("apr-"))
        await self.resolve(number, state=state)
        answered = self._get(request.approval_id)
        answered.decision.CopyFrom(request.decision)
        return pb.RecordDecisionResponse(approval=answered)

    def _get(self, wanted: str) -> Any:
        if wanted not in self.records:
            raise InterlockError(
                Reason.APPROVAL_NOT_FOUND, f"There is no approval {wanted}.", field="approval_id"
            )
        return self.records[wanted]


_STATES = {
    "approve": d.APPROVAL_STATE_APPROVED,
    "reject": d.APPROVAL_STATE_REJECTED,
    "skip": d.APPROVAL_STATE_SKIPPED,
    "edit": d.APPROVAL_STATE_EDITED,
}


@asynccontextmanager
async def serving(
    fake: FakeOrchestrator, address: str | Address = "127.0.0.1:0", token: str = "t"
) -> AsyncIterator[str]:
    """The fake behind the real server frame; gives its address."""
    spec = ServerSpec(
        "fake-orchestrator",
        address,
        [(fake, orchestrator_pb2_grpc.add_OrchestratorServicer_to_server, "interlock.v1.Orchestrator")],
        token,
        grace_seconds=0.05,
    )
    async with running(spec) as bound:
        yield str(bound)
