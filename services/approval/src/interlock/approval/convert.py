"""Wire messages to domain values and back; the only module that knows both."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from interlock.approval.domain.changes import Batch, Change, Filter, Item, Kind, Place
from interlock.approval.ports import Answer
from interlock.approval.queries.subscribe import Message
from interlock.common.access.scope import outside
from interlock.common.identity import Identity
from interlock.v1 import access_pb2, approval_pb2, decision_pb2, orchestrator_pb2, step_pb2

_KINDS = {
    decision_pb2.APPROVAL_EVENT_KIND_PENDING: Kind.PENDING,
    decision_pb2.APPROVAL_EVENT_KIND_REQUESTED: Kind.REQUESTED,
    decision_pb2.APPROVAL_EVENT_KIND_RESOLVED: Kind.RESOLVED,
    decision_pb2.APPROVAL_EVENT_KIND_REPLACED: Kind.REPLACED,
    decision_pb2.APPROVAL_EVENT_KIND_VOTED: Kind.VOTED,
    decision_pb2.APPROVAL_EVENT_KIND_APPLIED: Kind.APPLIED,
    decision_pb2.APPROVAL_EVENT_KIND_REMINDED: Kind.REMINDED,
    decision_pb2.APPROVAL_EVENT_KIND_ESCALATED: Kind.ESCALATED,
}
_WIRE_KINDS = {kind: number for number, kind in _KINDS.items()}
_STEP_KINDS = {
    "read_file": step_pb2.STEP_KIND_READ_FILE,
    "analyze": step_pb2.STEP_KIND_ANALYZE,
    "edit_file": step_pb2.STEP_KIND_EDIT_FILE,
    "run_command": step_pb2.STEP_KIND_RUN_COMMAND,
    "summarize": step_pb2.STEP_KIND_SUMMARIZE,
}


def batch(message: orchestrator_pb2.WatchApprovalsResponse) -> Batch:
    """One message of the orchestrator's feed. Events of kinds this version does not know are left out."""
    changes = tuple(_change(event) for event in message.events if event.kind in _KINDS)
    anchor = message.anchor if message.HasField("anchor") else None
    return Batch(changes, message.cursor, message.caught_up, anchor)


def _change(event: decision_pb2.ApprovalEvent) -> Change:
    full = event.approval
    brief = decision_pb2.ApprovalRecord()
    brief.CopyFrom(full)
    brief.ClearField("preview")
    # Without a preview both are the same object: nothing is held twice.
    shown = full if full.HasField("preview") else brief
    size = brief.ByteSize() + (full.ByteSize() if shown is full else 0)
    place = (event.run_seq, event.run_head)
    return Change(_KINDS[event.kind], event.position, item(brief), brief, shown, size, *place)


def item(record: decision_pb2.ApprovalRecord) -> Item:
    """What this service looks at."""
    return Item(
        approval_id=record.approval_id,
        run_id=record.run_id,
        workspace_id=record.workspace_id,
        step_kind=_STEP_KINDS.get(record.spec.input.WhichOneof("kind") or "", 0),
        labels=dict(record.labels),
        workspace_labels=dict(record.workspace_labels),
        step=record.step,
        traceparent=record.traceparent,
        stages=tuple(frozenset(stage.approvers) for stage in record.stages),
        excluded=frozenset(record.excluded),
    )


def places(delegations: Iterable[access_pb2.Delegation], subject: str) -> tuple[Place, ...]:
    """Who lets the subject decide for them."""
    return all_places(delegations).get(subject, ())


def all_places(delegations: Iterable[access_pb2.Delegation]) -> dict[str, tuple[Place, ...]]:
    """Who lets whom decide for them, by who is let."""
    found: dict[str, set[Place]] = {}
    for each in delegations:
        place = Place(each.from_subject, tuple(sorted(each.scope.items())))
        found.setdefault(each.to_subject, set()).add(place)
    return {subject: tuple(sorted(those, key=repr)) for subject, those in found.items()}


def chosen(wire: approval_pb2.ApprovalFilter, caller: Identity, given: tuple[Place, ...] = ()) -> Filter:
    """A subscriber's filter, within its scope. Raises PERMISSION_DENIED for workspaces that are not within it."""
    kinds, wanted = frozenset(wire.kinds), dict(wire.workspace_labels)
    approver = caller if wire.for_me else None
    if any(caller.scope.get(key, value) != value for key, value in wanted.items()):
        raise outside(caller, "what the filter chooses")
    return Filter(
        wire.run_id, wire.workspace_id, kinds, dict(wire.labels), {**wanted, **caller.scope}, approver, given
    )


def answer(request: approval_pb2.DecideRequest) -> Answer:
    """A decision as the caller sent it, without what only the service may say."""
    decision = decision_pb2.Decision()
    decision.CopyFrom(request.decision)
    for name in ("subject", "at", "authentication"):
        decision.ClearField(name)
    decision.channel = decision.channel or "grpc"
    return Answer(request.request_id, request.approval_id, request.run_id, request.step, decision)


def record_request(value: Answer) -> orchestrator_pb2.RecordDecisionRequest:
    """The orchestrator's request for a decision. Who decides is said by the call's metadata."""
    return orchestrator_pb2.RecordDecisionRequest(
        request_id=value.request_id,
        approval_id=value.approval_id,
        run_id=value.run_id,
        step=value.step,
        decision=value.verdict,
    )


def list_request(request: approval_pb2.ListApprovalsRequest) -> orchestrator_pb2.ListApprovalRecordsRequest:
    """The orchestrator's request for a list: the same fields."""
    return orchestrator_pb2.ListApprovalRecordsRequest(
        filter=request.filter if request.HasField("filter") else None,
        states=request.states,
        page_size=request.page_size,
        page_token=request.page_token,
    )


def subscribe_response(
    message: Message, record: decision_pb2.ApprovalRecord | None, now: datetime, anchor: Any = None
) -> approval_pb2.SubscribeResponse:
    """What a subscriber gets; `record` is the approval in the form it asked for, `anchor` goes with heartbeats."""
    response = approval_pb2.SubscribeResponse(
        cursor=message.cursor, caught_up=message.caught_up, reset=message.reset
    )
    if message.change is None:
        stamp = Timestamp()
        stamp.FromDatetime(now)
        response.at.CopyFrom(stamp)
        if anchor is not None:
            response.anchor.CopyFrom(anchor)
    else:
        response.event.kind = _WIRE_KINDS[message.change.kind]
        response.event.position = message.change.position
        response.event.run_seq = message.change.run_seq
        response.event.run_head = message.change.run_head
        response.event.approval.CopyFrom(record or message.change.brief)
    return response
