"""Decisions about approvals: the first one wins (or the last vote that is needed), about what its digest names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.actions import is_drafted
from interlock.orchestrator.domain.advance import budget_left
from interlock.orchestrator.domain.asking import deciders, gate_of, has_rules
from interlock.orchestrator.domain.chain import parse_time
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.decide_envelope import Grant, Granter, check_grant, granted
from interlock.orchestrator.domain.decide_step import failed
from interlock.orchestrator.domain.model import (
    Approval,
    Failure,
    Json,
    RejectAction,
    Run,
    RunState,
    Step,
    StepKind,
    Verdict,
    Vote,
)
from interlock.orchestrator.domain.refuse import budget_reached, require_attempts
from interlock.orchestrator.domain.timers import escalates_at, reminds_at
from interlock.orchestrator.domain.votes import Voter, check_may_approve, check_may_refuse, current_stage


@dataclass(frozen=True, slots=True)
class Decision:
    """One person's or rule's answer. `input` and `kind` are of an edit, `action` of a rejection,
    `authentication` how the subject proved who it is, `on_behalf_of` whose right it uses by `delegation`. An
    approval may come with an `envelope` for later steps. `groups` are the provider's that the subject is in."""

    verdict: Verdict
    digest: str
    subject: str
    channel: str = ""
    comment: str = ""
    action: RejectAction = RejectAction.FAIL_RUN
    kind: StepKind | None = None
    input: Json | None = None
    authentication: str = ""
    on_behalf_of: str = ""
    delegation: str = ""
    envelope: Grant | None = None
    groups: tuple[str, ...] = ()

    @property
    def voter(self) -> Voter:
        """Who decides, and in whose place."""
        return Voter(self.subject, self.on_behalf_of, self.groups)


def decide(run: Run, ctx: Context, approval_id: str, decision: Decision) -> list[e.Event]:
    """Records a decision about a pending approval.

    Where the policy asks for several people, an approval that is not the last one is a vote. Raises
    APPROVAL_ALREADY_DECIDED, APPROVAL_ALREADY_VOTED, APPROVAL_EXPIRED, APPROVAL_DIGEST_MISMATCH, PERMISSION_DENIED,
    RUN_WRONG_STATE.
    """
    step, approval = _pending(run, approval_id)
    if is_expired(approval, ctx.now):
        raise InterlockError(
            Reason.APPROVAL_EXPIRED,
            f"The approval {approval_id} expired at {approval.expires_at}.",
            metadata={"approval_id": approval_id, "expires_at": approval.expires_at},
        )
    if decision.digest != approval.digest:
        raise InterlockError(
            Reason.APPROVAL_DIGEST_MISMATCH,
            f"The decision is about {decision.digest}, but {approval_id} asks about {approval.digest}.",
            field="decision.digest",
            fix="Look at it again, `interlock approvals show APPROVAL`, and decide about what it shows now.",
            metadata={"approval_id": approval_id, "digest": approval.digest},
        )
    if decision.verdict is Verdict.APPROVE:
        check_may_approve(run, step, approval_id, decision.voter)
        if decision.envelope is not None:
            check_grant(run, step, decision.envelope, decision.voter)
    else:
        check_may_refuse(run, step, approval_id, decision.voter)
    voted = _voted(run, step, approval_id, decision)
    if voted is not None and not _enough(run, step, voted, ctx.now):
        return [voted]
    recorded = e.ApprovalDecided(
        approval_id,
        decision.verdict,
        decision.digest,
        decision.subject,
        decision.channel,
        decision.comment,
        decision.action if decision.verdict is Verdict.REJECT else None,
        decision.authentication,
        decision.on_behalf_of,
        decision.delegation,
        step=step.number,
    )
    before = [voted] if voted is not None else []
    return [*before, recorded, *_CONSEQUENCES[decision.verdict](run, ctx, step, decision)]


def _voted(run: Run, step: Step, approval_id: str, decision: Decision) -> e.ApprovalVoted | None:
    """The vote, where the policy asks for several; its last one is followed by the decision."""
    if decision.verdict is not Verdict.APPROVE or not (stages := deciders(run, step).stages):
        return None
    return e.ApprovalVoted(
        approval_id,
        decision.digest,
        decision.subject,
        current_stage(stages, step.votes),
        decision.channel,
        decision.comment,
        decision.authentication,
        decision.on_behalf_of,
        decision.delegation,
        decision.groups,
        step=step.number,
    )


def _enough(run: Run, step: Step, voted: e.ApprovalVoted, now: datetime) -> bool:
    votes = (*step.votes, Vote(voted.subject, voted.stage, now))
    stages = deciders(run, step).stages
    return current_stage(stages, votes) == len(stages)


def due(run: Run, ctx: Context, approval_id: str) -> list[e.Event]:
    """What an open approval wants by now: its end, to go to others too, or a reminder.

    An end is never "allow": it fails the step. Nothing, when it was resolved or nothing is due yet.
    """
    step = run.current
    if step is None or step.approval is None or step.approval.approval_id != approval_id:
        return []
    if is_expired(step.approval, ctx.now):
        return _expired(run, step, step.approval)
    found: list[e.Event] = []
    if _is_due(escalates_at(step), ctx):
        found.append(e.ApprovalEscalated(approval_id, step.approval.escalate_to, step=step.number))
    if _is_due(reminds_at(step), ctx):
        found.append(e.ApprovalReminded(approval_id, step.reminders + 1, step=step.number))
    return found


def _is_due(at: datetime | None, ctx: Context) -> bool:
    return at is not None and ctx.now >= at


def _expired(run: Run, step: Step, approval: Approval) -> list[e.Event]:
    failure = Failure(
        Reason.APPROVAL_EXPIRED.value,
        f"Nobody decided about {approval.approval_id} before {approval.expires_at}.",
        fix=f"Ask again with `interlock step retry {run.run_id} {step.number}`.",
    )
    expired = e.ApprovalExpired(approval.approval_id, step=step.number)
    return [expired, *failed(step, failure, may_retry=False)]


def is_expired(approval: Approval, now: datetime) -> bool:
    """Whether the approval's time is over."""
    return bool(approval.expires_at) and now >= parse_time(approval.expires_at)


def _pending(run: Run, approval_id: str) -> tuple[Step, Approval]:
    step = run.current
    if step is not None and step.approval is not None and step.approval.approval_id == approval_id:
        return step, step.approval
    raise InterlockError(
        Reason.APPROVAL_ALREADY_DECIDED,
        f"The approval {approval_id} is not pending any more.",
        metadata={"approval_id": approval_id},
    )


def _approved(run: Run, ctx: Context, step: Step, decision: Decision) -> list[e.Event]:
    if decision.envelope is None or step.approval is None:
        return []
    by = Granter(
        decision.voter, decision.authentication, decision.channel, decision.comment, decision.delegation
    )
    asked, about = decision.envelope, step.approval
    return [granted(ctx, asked, by, approval_id=about.approval_id, digest=about.digest)]


def _skipped(run: Run, ctx: Context, step: Step, decision: Decision) -> list[e.Event]:
    return [e.StepSkipped(decision.subject, decision.comment, step=step.number)]


def _edited(run: Run, ctx: Context, step: Step, decision: Decision) -> list[e.Event]:
    if decision.input is None or decision.kind is not step.spec.kind:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"An edit of step {step.number} must be a {step.spec.kind.value} input.",
            field="decision.edit.input",
        )
    require_attempts(run, step)
    edited = replace(step.spec, input=decision.input)
    if is_drafted(edited) and not budget_left(run):
        raise budget_reached(run, f"step {step.number} as edited")
    gate, judge = gate_of(edited, run.policy), has_rules(run, ctx.policy)
    return [
        e.StepEdited(step.attempt + 1, decision.input, gate.value, judge, decision.subject, step=step.number)
    ]


def _rejected(run: Run, ctx: Context, step: Step, decision: Decision) -> list[e.Event]:
    said = f": {decision.comment}" if decision.comment else "."
    failure = Failure(
        Reason.STEP_REJECTED.value,
        f"{decision.subject or 'Someone'} rejected step {step.number}{said}",
        fix="Retry or skip the step: `interlock step retry RUN STEP` or `interlock step skip RUN STEP`.",
    )
    rejected = e.StepRejected(failure, step=step.number)
    if decision.action is RejectAction.SKIP_STEP:
        return [rejected]
    if decision.action is RejectAction.FAIL_RUN:
        return [rejected, e.RunFailed(failure)]
    if run.state is RunState.PAUSED:
        raise InterlockError(
            Reason.RUN_WRONG_STATE,
            f"The run {run.run_id} is PAUSED; it cannot be planned again before it is resumed.",
            metadata={"run_id": run.run_id, "current": run.state.value, "allowed": "AWAITING_APPROVAL"},
        )
    if not budget_left(run):
        raise budget_reached(run, "planning again")
    feedback = decision.comment or failure.message
    return [rejected, e.PlanningStarted(feedback=feedback, by=decision.subject)]


_CONSEQUENCES: dict[Verdict, Callable[[Run, Context, Step, Decision], list[e.Event]]] = {
    Verdict.APPROVE: _approved,
    Verdict.REJECT: _rejected,
    Verdict.SKIP: _skipped,
    Verdict.EDIT: _edited,
}
