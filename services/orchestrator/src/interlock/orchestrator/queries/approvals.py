"""Approvals as recorded: one, a page of them, and the feed of what happens to them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing

from interlock.common.access.deciding import may_approve
from interlock.common.access.scope import covers
from interlock.common.digests import digest_text
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import current_identity
from interlock.common.paging import (
    decode_cursor,
    decode_page_token,
    encode_cursor,
    encode_page_token,
    page_size,
)
from interlock.orchestrator.convert import approvals as convert
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain.model import Verdict
from interlock.orchestrator.queries import anchors
from interlock.orchestrator.runs.transaction import Outcome
from interlock.orchestrator.store import delegations
from interlock.orchestrator.store.readers import approvals, events, runs
from interlock.orchestrator.store.records import FeedRow
from interlock.v1 import approval_pb2, decision_pb2, step_pb2
from interlock.v1 import orchestrator_pb2 as o

HEARTBEAT_SECONDS = 10.0
_SCOPE = "WatchApprovals"
_PENDING_PAGE = 200
_FRAME = 50
_RESOLVED = frozenset({"approval.decided", "approval.expired", "approval.cancelled"})
_APPROVED = b'"approval_id":'
"""In the canonical form of an event only a field's name reads like this: a quote inside a string is escaped."""
_STILL_OPEN = {
    "approval.voted": decision_pb2.APPROVAL_EVENT_KIND_VOTED,
    "approval.reminded": decision_pb2.APPROVAL_EVENT_KIND_REMINDED,
    "approval.escalated": decision_pb2.APPROVAL_EVENT_KIND_ESCALATED,
}
_TOLD = _RESOLVED | _STILL_OPEN.keys() | {"approval.requested", "step.preview_superseded", "step.succeeded"}
Row = approvals.ApprovalRow


async def get_record(deps: Deps, message: o.GetApprovalRecordRequest) -> o.GetApprovalRecordResponse:
    """One approval with its preview."""
    row = await approvals.get(deps.database, message.approval_id)
    return o.GetApprovalRecordResponse(approval=await record_view(deps, row))


async def record_view(deps: Deps, row: Row, *, with_preview: bool = True) -> decision_pb2.ApprovalRecord:
    """An approval as people see it."""
    digest = convert.preview_digest(row.doc)
    found = await deps.payloads.get([digest]) if with_preview and digest else {}
    view = convert.record(row.doc, row.state, found.get(digest))
    view.workspace_labels.update(await deps.labels.of(view.workspace_id))
    return view


async def row_after(deps: Deps, outcome: Outcome, approval_id: str) -> Row:
    """An approval after a transaction, read only where that did not change it."""
    known = deps.asked.newest(approval_id) if approval_id in outcome.approvals else None
    return known or await approvals.get(deps.database, approval_id)


async def list_records(deps: Deps, message: o.ListApprovalRecordsRequest) -> o.ListApprovalRecordsResponse:
    """A page of approvals, oldest first, without previews. A page may be shorter than asked for."""
    wanted = message.states or [decision_pb2.APPROVAL_STATE_PENDING]
    states = sorted(
        decision_pb2.ApprovalState.Name(s).removeprefix("APPROVAL_STATE_").lower() for s in wanted
    )
    given = message.filter
    scope = f"ListApprovalRecords/{states}/{given.SerializeToString(deterministic=True).hex()}"
    after = decode_page_token(scope, message.page_token).text("after") if message.page_token else ""
    size = page_size(message.page_size, default=100, maximum=1000)
    rows = await approvals.listed(
        deps.database, states=states, run_id=given.run_id or None, after=after, limit=size
    )
    views = [await record_view(deps, row, with_preview=False) for row in rows]
    within, places = current_identity().scope, await _places(deps) if given.for_me else []
    token = encode_page_token(scope, {"after": rows[-1].id}) if len(rows) == size else ""
    return o.ListApprovalRecordsResponse(
        approvals=[
            view
            for view in views
            if matches(given, view, _here(places, view)) and covers(within, view.workspace_labels)
        ],
        next_page_token=token,
    )


async def _places(deps: Deps) -> list[delegations.DelegationRow]:
    """Delegations to the caller that can be used now."""
    me = current_identity().subject
    rows = await delegations.page(deps.database, everything=False, subject=me, before=None, limit=100)
    return [row for row in rows if row.to_subject == me]


def _here(places: list[delegations.DelegationRow], view: decision_pb2.ApprovalRecord) -> list[str]:
    return [row.from_subject for row in places if covers(row.scope, view.workspace_labels)]


def matches(
    given: approval_pb2.ApprovalFilter, view: decision_pb2.ApprovalRecord, place_of: Collection[str] = ()
) -> bool:
    """Whether an approval passes a filter; every set field narrows. `place_of`: who lets the caller decide for them."""
    if given.run_id and view.run_id != given.run_id:
        return False
    if given.workspace_id and view.workspace_id != given.workspace_id:
        return False
    if given.kinds and approval_kind(view) not in given.kinds:
        return False
    if given.for_me and not may_approve(
        current_identity(), [stage.approvers for stage in view.stages], view.excluded, place_of
    ):
        return False
    return covers(given.labels, view.labels) and covers(given.workspace_labels, view.workspace_labels)


def approval_kind(view: decision_pb2.ApprovalRecord) -> int:
    """The StepKind of an approval's step."""
    name = view.spec.input.WhichOneof("kind") or "unspecified"
    return step_pb2.StepKind.Value(f"STEP_KIND_{name.upper()}")


async def watch(
    deps: Deps, message: o.WatchApprovalsRequest
) -> AsyncGenerator[o.WatchApprovalsResponse, None]:
    """What is pending, then everything that happens to approvals, in feed order.

    What is not within the caller's scope is left out.
    """
    scope = current_identity().scope
    async with aclosing(_everything(deps, message)) as frames:
        async for frame in frames:
            if scope:
                within = [e for e in frame.events if covers(scope, e.approval.workspace_labels)]
                frame = o.WatchApprovalsResponse(  # noqa: PLW2901 (the same frame, with less in it)
                    events=within,
                    cursor=frame.cursor,
                    caught_up=frame.caught_up,
                    anchor=frame.anchor if frame.HasField("anchor") else None,
                )
            yield frame


async def _everything(
    deps: Deps, message: o.WatchApprovalsRequest
) -> AsyncGenerator[o.WatchApprovalsResponse, None]:
    known: set[str] = set()
    if message.cursor:
        position = decode_cursor(_SCOPE, message.cursor).integer("position")
        if position > deps.feed.position:
            position = await _known_position(deps, position)
        if not await deps.feed.reaches(position, deps.reach, deps.clock.now()):
            raise InterlockError(
                Reason.CURSOR_EXPIRED,
                "The cursor is older than what the feed keeps.",
                field="cursor",
                fix="Watch again without a cursor.",
            )
    else:
        position = deps.feed.position
        async for frame in _pending(deps, position):
            known.update(event.approval.approval_id for event in frame.events)
            yield frame
    yield o.WatchApprovalsResponse(cursor=_cursor(position), caught_up=True, anchor=anchors.newest(deps))
    async with aclosing(deps.feed.tail(position, idle=HEARTBEAT_SECONDS)) as tail:
        async for rows in tail:
            position = rows[-1].position if rows else position
            news = [event for row in rows if (event := await event_of(deps, row, known)) is not None]
            for at in range(0, len(news), _FRAME):
                last = at + _FRAME >= len(news)
                cursor = position if last else news[at + _FRAME - 1].position
                yield o.WatchApprovalsResponse(events=news[at : at + _FRAME], cursor=_cursor(cursor))
            if not news:
                # Other events went by: the cursor moves on, and silence is broken.
                yield o.WatchApprovalsResponse(cursor=_cursor(position), anchor=anchors.newest(deps))


async def _known_position(deps: Deps, position: int) -> int:
    """A position ahead of this replica's feed may come from another one that is ahead of it."""
    if position > await events.position(deps.database):
        raise InterlockError(Reason.CURSOR_INVALID, "The cursor is ahead of the feed.", field="cursor")
    return position


async def _pending(deps: Deps, position: int) -> AsyncIterator[o.WatchApprovalsResponse]:
    after = ""
    while rows := await approvals.pending(deps.database, after=after, limit=_PENDING_PAGE):
        after = rows[-1].id
        heads = await runs.heads(deps.database, sorted({row.run_id for row in rows}))
        for at in range(0, len(rows), _FRAME):
            waiting = [
                decision_pb2.ApprovalEvent(
                    kind=decision_pb2.APPROVAL_EVENT_KIND_PENDING,
                    approval=await record_view(deps, row),
                    position=position,
                    run_seq=heads[row.run_id].seq,
                    run_head=digest_text(heads[row.run_id].head_hash),
                )
                for row in rows[at : at + _FRAME]
            ]
            yield o.WatchApprovalsResponse(events=waiting)


async def event_of(deps: Deps, row: FeedRow, known: set[str]) -> decision_pb2.ApprovalEvent | None:
    """What an event of the journal says about an approval; None where it says nothing.

    An approval in `known` was told before it was asked: its asking is left out, once.
    """
    if known and row.type == "approval.requested" and _asked_id(row) in known:
        known.discard(_asked_id(row))
        return None
    if row.type not in _TOLD or (row.type == "step.succeeded" and _APPROVED not in row.canonical):
        return None
    return await deps.told.get(row.position, lambda: _event(deps, row))


def _asked_id(row: FeedRow) -> str:
    return str(json.loads(row.canonical)["data"]["approval"]["approval_id"])


async def _event(deps: Deps, row: FeedRow) -> decision_pb2.ApprovalEvent | None:
    if row.type == "approval.requested":
        approval_id = _asked_id(row)
        view = await record_view(deps, await _row(deps, row, approval_id))
        # As it was when it was asked: what came of it follows in an event of its own.
        view.state = decision_pb2.APPROVAL_STATE_PENDING
        view.ClearField("decision")
        view.ClearField("resolved_at")
        kind = decision_pb2.APPROVAL_EVENT_KIND_REQUESTED
    elif row.type == "step.preview_superseded":
        return await _replaced(deps, row)
    elif row.type in _STILL_OPEN:
        return await _still_open(deps, row)
    elif row.type in _RESOLVED:
        return await _resolved(deps, row)
    else:  # step.succeeded
        approval_id = json.loads(row.canonical)["data"]["approval_id"]
        applied = deps.asked.approved(approval_id) or await approvals.get(deps.database, approval_id)
        view = await record_view(deps, applied, with_preview=False)
        kind = decision_pb2.APPROVAL_EVENT_KIND_APPLIED
    return _made(row, kind, view)


async def _resolved(deps: Deps, row: FeedRow) -> decision_pb2.ApprovalEvent:
    """An approval as its end left it: that its preview was replaced later has an event of its own."""
    data = json.loads(row.canonical)["data"]
    found = await _row(deps, row, data["approval_id"])
    state = row.type.removeprefix("approval.")
    if state == "decided":
        state = convert.decided_state(Verdict(data["verdict"]))
    view = await record_view(deps, found._replace(state=state), with_preview=False)
    view.ClearField("superseded_by")
    kind = decision_pb2.APPROVAL_EVENT_KIND_RESOLVED
    return _made(row, kind, view)


async def _still_open(deps: Deps, row: FeedRow) -> decision_pb2.ApprovalEvent:
    """An approval that stays open, as it was then: what came later, the decision too, has events of its own."""
    data = json.loads(row.canonical)["data"]
    view = await record_view(deps, await _row(deps, row, data["approval_id"]))
    if row.type == "approval.voted":
        known = [vote.subject for vote in view.votes]
        for later in view.votes[known.index(data["subject"]) + 1 :]:
            view.stages[later.stage - 1].votes -= 1
        del view.votes[known.index(data["subject"]) + 1 :]
    view.reminders = data.get("number", view.reminders)
    view.state = decision_pb2.APPROVAL_STATE_PENDING
    view.ClearField("decision")
    view.ClearField("resolved_at")
    return _made(row, _STILL_OPEN[row.type], view)


async def _replaced(deps: Deps, row: FeedRow) -> decision_pb2.ApprovalEvent | None:
    """The approval whose preview was replaced: the last one that was given. None where there was none."""
    void = json.loads(row.canonical)["data"].get("approval_ids", [])
    if not void:
        return None
    view = await record_view(deps, await _row(deps, row, void[-1]), with_preview=False)
    # As it was then: another one may ask in its place by now.
    view.ClearField("superseded_by")
    kind = decision_pb2.APPROVAL_EVENT_KIND_REPLACED
    return _made(row, kind, view)


async def _row(deps: Deps, event: FeedRow, approval_id: str) -> Row:
    """An approval as an event of this process left it; of other events, as it is now."""
    return deps.asked.told(event.hash, approval_id) or await approvals.get(deps.database, approval_id)


def _made(
    row: FeedRow, kind: decision_pb2.ApprovalEventKind.ValueType, view: decision_pb2.ApprovalRecord
) -> decision_pb2.ApprovalEvent:
    """The event, with the place of what it tells of in the run's chain: whoever notes it can tell a cut one later."""
    return decision_pb2.ApprovalEvent(
        kind=kind, approval=view, position=row.position, run_seq=row.seq, run_head=digest_text(row.hash)
    )


def _cursor(position: int) -> str:
    return encode_cursor(_SCOPE, {"position": position})
