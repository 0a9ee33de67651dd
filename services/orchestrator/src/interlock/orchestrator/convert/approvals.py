"""Approvals: domain → store rows and responses."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from google.protobuf import json_format

from interlock.orchestrator.convert import rulings, views
from interlock.orchestrator.domain.asking import Deciders, deciders
from interlock.orchestrator.domain.chain import parse_time
from interlock.orchestrator.domain.events import ApprovalDecided
from interlock.orchestrator.domain.gates import gate_note
from interlock.orchestrator.domain.model import (
    Approval,
    EarlyDecision,
    RejectAction,
    Reviewed,
    Run,
    Step,
    Verdict,
    Vote,
)
from interlock.orchestrator.domain.people import everyone
from interlock.orchestrator.domain.votes import approvers
from interlock.orchestrator.store.records import ApprovalState, ApprovalUpsert
from interlock.v1 import decision_pb2, rules_pb2, step_pb2

_STATE_OF: dict[Verdict, ApprovalState] = {
    Verdict.APPROVE: "approved",
    Verdict.REJECT: "rejected",
    Verdict.SKIP: "skipped",
    Verdict.EDIT: "edited",
}
_REJECT = {action: decision_pb2.RejectAction.Value(f"REJECT_ACTION_{action.name}") for action in RejectAction}


def requested(run: Run, step: Step, approval: Approval, at: datetime) -> ApprovalUpsert:
    """The row of a new question. Its doc is the record without preview, and where the preview is."""
    record = decision_pb2.ApprovalRecord(
        approval_id=approval.approval_id,
        run_id=run.run_id,
        step=step.number,
        attempt=approval.attempt,
        gate=views.gate(approval.gate),
        digest=approval.digest,
        goal=run.goal,
        workspace_id=run.workspace_id,
        labels=dict(run.labels),
        spec=views.spec(step.spec, {}),
        title=views.title(step.spec),
        traceparent=run.traceparent,
        requested_at=views.timestamp(at),
        expires_at=views.timestamp(parse_time(approval.expires_at)) if approval.expires_at else None,
        replaces=approval.replaces,
        gate_note=gate_note(step.spec, run.policy),
        votes=[_vote(each) for each in step.votes],
        stages=_stages(deciders(run, step), step),
        excluded=everyone(run, (run.created_by, *step.authors))
        if deciders(run, step).separate_requester
        else (),
        edited_by=step.edited_by,
        outside=approval.outside,
        reminders=step.reminders,
        reminded_at=views.timestamp(step.reminded_at),
        escalated_at=views.timestamp(step.escalated_at),
        escalated_to=approval.escalate_to if step.escalated_at else (),
        ruling=_ruling(step),
    )
    if step.prepared is not None:
        json_format.ParseDict(dict(step.prepared.limits), record.limits)
    shown = step.prepared.effect_payload if step.prepared else ""
    return _row(run, step, approval, "pending", record, shown, at)


def resolved(
    row: ApprovalUpsert, state: ApprovalState, at: datetime, decided: ApprovalDecided | None = None
) -> ApprovalUpsert:
    """The row of a question that has its answer."""
    record = record_of(row.doc)
    record.resolved_at.FromDatetime(at)
    if decided is not None:
        record.decision.CopyFrom(_decision(decided, at))
    return ApprovalUpsert(
        id=row.id,
        step=row.step,
        attempt=row.attempt,
        gate=row.gate,
        digest=row.digest,
        state=state,
        requested_at=row.requested_at,
        expires_at=row.expires_at,
        resolved_at=at,
        subject=decided.subject if decided else "",
        doc=_doc(record, preview_digest(row.doc)),
    )


def superseded(run: Run, step: Step, given: Reviewed, by: str = "") -> ApprovalUpsert:
    """The row of an approval whose preview is void; `by` is the one that asks in its place, once it does."""
    asked = requested(run, replace(step, prepared=given.shown), given.approval, given.asked_at)
    decided = ApprovalDecided(
        given.approval.approval_id,
        Verdict.APPROVE,
        given.approval.digest,
        given.subject,
        given.channel,
        given.comment,
        authentication=given.authentication,
        on_behalf_of=given.on_behalf_of,
        delegation=given.delegation,
    )
    row = resolved(asked, "superseded", given.decided_at, decided)
    if not by:
        return row
    record = record_of(row.doc)
    record.superseded_by = by
    return replace(row, doc=_doc(record, preview_digest(row.doc)))


def kept(run: Run, step: Step, early: EarlyDecision) -> decision_pb2.ApprovalRecord:
    """The answer to a decision that came before its question."""
    decided = ApprovalDecided(
        "",
        early.verdict,
        early.digest,
        early.subject,
        early.channel,
        early.comment,
        early.action,
        early.authentication,
        early.on_behalf_of,
        early.delegation,
    )
    out = decision_pb2.ApprovalRecord(
        run_id=run.run_id,
        step=step.number,
        digest=early.digest,
        goal=run.goal,
        workspace_id=run.workspace_id,
        labels=dict(run.labels),
        spec=views.spec(step.spec, {}),
        title=views.title(step.spec),
        decision=_decision(decided, run.updated_at),
    )
    out.kept_until.FromDatetime(parse_time(early.until))
    return out


def decided_state(verdict: Verdict) -> ApprovalState:
    """The state a decision leads to."""
    return _STATE_OF[verdict]


def record_of(doc: Mapping[str, Any]) -> decision_pb2.ApprovalRecord:
    """The record that a row's doc holds, without state and preview."""
    if isinstance(doc, Doc):
        out = decision_pb2.ApprovalRecord()
        out.CopyFrom(doc.record)
        return out
    if "record_bytes" in doc:
        return decision_pb2.ApprovalRecord.FromString(base64.b64decode(doc["record_bytes"]))
    return json_format.ParseDict(dict(doc["record"]), decision_pb2.ApprovalRecord())


class Doc(dict[str, Any]):
    """What a row keeps, made in this process: with the record that it was made from, which nobody may change.

    Reading a record out of JSON takes a hundred times as long as copying it.
    """

    def __init__(self, values: Mapping[str, Any], record_: decision_pb2.ApprovalRecord) -> None:
        super().__init__(values)
        self.record = record_


def size_of(doc: Mapping[str, Any]) -> int:
    """Bytes of the record of a doc that was made in this process, about."""
    return doc.record.ByteSize() if isinstance(doc, Doc) else 0


def _doc(record_: decision_pb2.ApprovalRecord, shown: str) -> Doc:
    """What the row keeps: JSON that people can read in the database, where JSON in PostgreSQL can hold it at all.

    It cannot hold a NUL, which the content of a file may have.
    """
    plain = json_format.MessageToDict(record_)
    if "\\u0000" not in json.dumps(plain):
        return Doc({"record": plain, "preview_payload": shown}, record_)
    whole = base64.b64encode(record_.SerializeToString(deterministic=True)).decode()
    return Doc({"record_bytes": whole, "preview_payload": shown}, record_)


def rewritten(doc: Mapping[str, Any], change: Callable[[Any], Any]) -> Mapping[str, Any]:
    """A row's doc with its record changed: `change` is given it as JSON. Unchanged, it is the same doc."""
    known = json_format.MessageToDict(record_of(doc))
    plain = change(known)
    if plain == known:
        return doc
    return _doc(json_format.ParseDict(plain, decision_pb2.ApprovalRecord()), preview_digest(doc))


def record(doc: Mapping[str, Any], state: str, effect: bytes | None = None) -> decision_pb2.ApprovalRecord:
    """An approval as people see it; with its preview when the effect's bytes are given."""
    out = record_of(doc)
    out.state = decision_pb2.ApprovalState.Value(f"APPROVAL_STATE_{state.upper()}")
    if effect is not None:
        out.preview.CopyFrom(step_pb2.Effect.FromString(effect))
    return out


def preview_digest(doc: Mapping[str, Any]) -> str:
    """Digest of the payload that holds the preview."""
    return str(doc.get("preview_payload", ""))


def _ruling(step: Step) -> rules_pb2.Ruling | None:
    """What the rules said that the question follows from."""
    known = step.observed or step.ruling
    return rulings.view(known) if known is not None else None


def _vote(vote: Vote) -> decision_pb2.Vote:
    return decision_pb2.Vote(
        subject=vote.subject,
        stage=vote.stage + 1,
        channel=vote.channel,
        comment=vote.comment,
        authentication=vote.authentication,
        at=views.timestamp(vote.at),
        on_behalf_of=vote.on_behalf_of,
        delegation_id=vote.delegation,
    )


def _stages(who: Deciders, step: Step) -> list[decision_pb2.StageProgress]:
    return [
        decision_pb2.StageProgress(
            name=stage.name,
            quorum=stage.quorum,
            votes=sum(vote.stage == number for vote in step.votes),
            approvers=sorted(approvers(who.groups, stage, step)),
        )
        for number, stage in enumerate(who.stages)
    ]


def _decision(decided: ApprovalDecided, at: datetime) -> decision_pb2.Decision:
    out = decision_pb2.Decision(
        comment=decided.comment,
        subject=decided.subject,
        channel=decided.channel,
        at=views.timestamp(at),
        digest=decided.digest,
        authentication=decided.authentication,
        on_behalf_of=decided.on_behalf_of,
        delegation_id=decided.delegation,
    )
    if decided.verdict is Verdict.APPROVE:
        out.approve.SetInParent()
    elif decided.verdict is Verdict.REJECT:
        out.reject.action = _REJECT[decided.action or RejectAction.FAIL_RUN]
    elif decided.verdict is Verdict.SKIP:
        out.skip.SetInParent()
    else:
        out.edit.SetInParent()
    return out


def _row(
    run: Run,
    step: Step,
    approval: Approval,
    state: ApprovalState,
    record_: decision_pb2.ApprovalRecord,
    shown: str,
    at: datetime,
) -> ApprovalUpsert:
    return ApprovalUpsert(
        id=approval.approval_id,
        step=step.number,
        attempt=approval.attempt,
        gate=approval.gate.value,
        digest=approval.digest,
        state=state,
        requested_at=at,
        expires_at=parse_time(approval.expires_at) if approval.expires_at else None,
        doc=_doc(record_, shown),
    )
