"""Results of actions: each turns into events, or into nothing when the state has moved on without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from interlock.common.errors import Reason
from interlock.orchestrator.domain import envelopes
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.actions import (
    Apply,
    AskModel,
    Draft,
    Due,
    Judge,
    Prepare,
    Propose,
    StepAction,
    is_drafted,
    step_action,
    wants,
)
from interlock.orchestrator.domain.advance import budget_left
from interlock.orchestrator.domain.asking import Question, at_command, at_effect, gate_of, has_rules, refusal
from interlock.orchestrator.domain.chain import time_text
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.envelopes import Observed
from interlock.orchestrator.domain.model import (
    MAX_ATTEMPTS,
    MAX_SUPERSEDED,
    Approval,
    Envelope,
    Failure,
    Kept,
    ModelCall,
    OnFailure,
    PauseReason,
    Prepared,
    Ruling,
    Run,
    RunState,
    Step,
    StepKind,
    StepState,
)
from interlock.orchestrator.domain.undo import drift
from interlock.orchestrator.domain.votes import named

_MOVED = frozenset(
    {
        Reason.WORKSPACE_DRIFTED,
        Reason.WORKSPACE_HEAD_MOVED,
        Reason.EFFECT_DIGEST_MISMATCH,
        Reason.EFFECT_NOT_OWNED,
        Reason.POLICY_CHANGED,
    }
)
"""Failures that a new preview may cure: the workspace is not what the preview stood on, or someone else has put an
effect under this attempt, or another policy is in force."""


_NAMED_PATHS = 20
_NOTHING = Kept()
_NOTHING_SEEN = Observed(complete=False)


_OTHER_REQUEST = Failure(
    Reason.EFFECT_DIGEST_MISMATCH.value,
    "What ran is not what was approved; nothing of it is published, and it is asked about again.",
)


_NO_EFFECT = Failure(
    Reason.EFFECT_NOT_FOUND.value,
    "The executor answered without an effect: the attempt had been thrown away.",
)


def judged(run: Run, ctx: Context, number: int, attempt: int, ruling: Ruling) -> list[e.Event]:
    """The rules said what is to become of a step before it began: it has its gate, or is refused."""
    if run.cancelling or not wants(run, number, attempt, Judge):
        return []
    step = run.steps[number - 1]
    gate = gate_of(step.spec, run.policy, ruling, edited=bool(step.edited_by))
    known = e.StepRuled(attempt, ruling, gate.value, step=number)
    refused = refusal(step, ruling)
    return [known, *(failed(step, refused, may_retry=False) if refused else [])]


def replied(
    run: Run, ctx: Context, number: int, attempt: int, reply_payload: str, calls: Sequence[ModelCall]
) -> list[e.Event]:
    """The model answered an analyze or summarize step. What it cost is recorded even when nobody waits."""
    called: list[e.Event] = [e.ModelCalled(call, step=number) for call in calls]
    if not wants(run, number, attempt, AskModel):
        return called
    done = e.StepSucceeded(attempt, run.head_tree, reply_payload=reply_payload, step=number)
    return [*called, done]


def drafted(
    run: Run, ctx: Context, number: int, attempt: int, draft_payload: str, calls: Sequence[ModelCall]
) -> list[e.Event]:
    """The model drafted the content of an edit_file step."""
    called: list[e.Event] = [e.ModelCalled(call, step=number) for call in calls]
    if not wants(run, number, attempt, Draft):
        return called
    return [*called, e.StepDrafted(draft_payload, step=number)]


def proposed(run: Run, ctx: Context, number: int, attempt: int, prepared: Prepared) -> list[e.Event]:
    """The executor said what would run; the step asks for approval of it."""
    if run.cancelling or not wants(run, number, attempt, Propose):
        return []
    step = run.steps[number - 1]
    known = [*drift(run, prepared.base_tree), e.StepProposed(attempt, prepared, step=number)]
    question = at_command(step, step.ruling)
    within = envelopes.trial(run, step, question, ctx.now)
    if within is not None:
        tried = e.EnvelopeTried(attempt, within.envelope_id, prepared.request_digest, step=number)
        return [*known, tried]
    return [*known, *_ask(run, ctx, step, question, prepared.request_digest)]


def prepared(
    run: Run,
    ctx: Context,
    number: int,
    attempt: int,
    effect: Prepared,
    failure: Failure | None = None,
    ruling: Ruling | None = None,
    seen: Observed = _NOTHING_SEEN,
) -> list[e.Event]:
    """The executor computed the effect, or the step failed in its fork; `ruling` is what the rules say about it.
    `seen` is what it did, for envelopes.

    A run that is being cancelled records how far it had come and publishes nothing.
    """
    if not wants(run, number, attempt, Prepare):
        return []
    if failure is None and not effect.effect_digest:
        return action_failed(run, ctx, number, attempt, _NO_EFFECT)
    step = run.steps[number - 1]
    known = [*drift(run, effect.base_tree), e.StepPrepared(attempt, effect, step=number)]
    if run.cancelling:
        return [*known, e.StepCancelled(step=number)]
    if failure is not None:
        return [*known, *failed(step, failure)]
    asked = step.approved_request or step.tried_request
    if asked and effect.request_digest != asked:
        return [*known, *_moved(run, ctx, step, _OTHER_REQUEST, ran=True)]
    if ruling is not None:
        known.append(e.StepRuled(attempt, ruling, step.gate.value, step=number))
    return [*known, *_after_prepared(run, ctx, step, effect, ruling, seen)]


def applied(
    run: Run, ctx: Context, number: int, attempt: int, head_tree: str, *, merged: bool, kept: Kept = _NOTHING
) -> list[e.Event]:
    """The executor published the effect."""
    if not wants(run, number, attempt, Apply):
        return []
    paths, total = kept
    approved = _approved(run.steps[number - 1])
    done = e.StepSucceeded(
        attempt, head_tree, merged, kept_paths=paths, kept_total=total, approval_id=approved, step=number
    )
    return [done]


def discarded(run: Run, ctx: Context, number: int, attempt: int) -> list[e.Event]:
    """The executor stopped or threw away an attempt."""
    if (number, attempt) not in run.discards:
        return []
    return [e.EffectDiscarded(attempt, step=number)]


def action_failed(
    run: Run,
    ctx: Context,
    number: int,
    attempt: int,
    failure: Failure,
    calls: Sequence[ModelCall] = (),
    *,
    action: StepAction | None = None,
) -> list[e.Event]:
    """An action for a step ended with an error that repeating it does not cure.

    `action` is the one that failed: with it, the failure of an action that is no longer wanted is stale.
    """
    called: list[e.Event] = [e.ModelCalled(call, step=number) for call in calls]
    wanted = step_action(run.steps[number - 1]) if wants(run, number, attempt, StepAction) else None
    if wanted is None or isinstance(wanted, Due) or action not in (None, wanted):
        return called
    step = run.steps[number - 1]
    if failure.reason == Reason.OUTCOME_UNKNOWN.value:
        unknown = e.StepOutcomeUnknown(failure, step=number)
        hold = run.state is RunState.RUNNING and not run.cancelling
        return [*called, unknown, *([e.RunPaused(PauseReason.OUTCOME_UNKNOWN.value)] if hold else [])]
    if run.cancelling:
        # An attempt that is being stopped ends by that; only a publish that was refused ends here.
        stopping = (number, attempt) in run.discards
        return called if stopping else [*called, *failed(step, failure, may_retry=False, stop=False)]
    if failure.reason in _MOVED:
        return [*called, *_moved(run, ctx, step, failure, ran=step.computed == attempt)]
    return [*called, *failed(step, failure)]


def failed(step: Step, failure: Failure, *, may_retry: bool = True, stop: bool = True) -> list[e.Event]:
    """The events of a failed step: it is tried again, or stops the run, or lets it go on."""
    again = may_retry and step.failures < step.spec.retries and step.attempt < MAX_ATTEMPTS
    event = e.StepFailed(step.attempt, failure, again, step=step.number)
    if again or not stop or step.spec.on_failure is OnFailure.CONTINUE:
        return [event]
    return [event, e.RunFailed(failure)]


def _after_prepared(
    run: Run, ctx: Context, step: Step, effect: Prepared, ruling: Ruling | None, seen: Observed
) -> list[e.Event]:
    question = at_effect(step, effect, ruling)
    if question.refused is not None:
        return failed(step, question.refused, may_retry=False)
    # What was only tried has been approved by nobody yet.
    if step.state is StepState.PREPARING and (question.asks or step.tried_request):
        within = envelopes.given(run, step, question, seen, ctx.now)
        if within is None:
            return _ask(run, ctx, step, question, effect.effect_digest, seen)
        return [_within(step, effect, seen, within), *_goes_on(step, effect)]
    return _goes_on(step, effect)


def _within(step: Step, effect: Prepared, seen: Observed, envelope: Envelope) -> e.Event:
    return e.EnvelopeUsed(
        step.attempt,
        envelope.envelope_id,
        envelope.granted_by,
        effect.effect_digest,
        len(seen.paths),
        seen.size,
        envelope.on_behalf_of,
        step=step.number,
    )


def _goes_on(step: Step, effect: Prepared) -> list[e.Event]:
    """An effect that nobody has to be asked about, or not any more."""
    if step.spec.kind is StepKind.READ_FILE or not effect.changes_tree:
        return [
            e.StepSucceeded(step.attempt, effect.base_tree, approval_id=_approved(step), step=step.number)
        ]
    if step.state is StepState.APPLYING:
        return []
    return [e.StepApplying(step.attempt, digest=effect.effect_digest, step=step.number)]


def _approved(step: Step) -> str:
    """The approval that this attempt of the step was last given; empty where it was given none."""
    given = [each.approval for each in step.reviewed if each.approval.attempt == step.attempt]
    return given[-1].approval_id if given else ""


def _ask(
    run: Run, ctx: Context, step: Step, question: Question, digest: str, seen: Observed | None = None
) -> list[e.Event]:
    policy, before = run.policy, step.review(question.gate)
    approval = Approval(
        ctx.new_id("apr"),
        question.gate,
        digest,
        step.attempt,
        expires_at=_after(ctx, policy.approval_timeout_us),
        replaces=before.approval.approval_id if before else "",
        remind_us=policy.remind_us,
        escalates_at=_after(ctx, policy.escalate_us),
        escalate_to=named(policy.groups, policy.escalate_to),
        outside=envelopes.passed(run, step, question, seen, ctx.now),
    )
    asked = e.ApprovalRequested(approval, step=step.number)
    return [*envelopes.spent(run, step, ctx.now), asked]


def _after(ctx: Context, microseconds: int | None) -> str:
    return time_text(ctx.now + timedelta(microseconds=microseconds)) if microseconds else ""


def _moved(run: Run, ctx: Context, step: Step, failure: Failure, *, ran: bool) -> list[e.Event]:
    """A new preview on what the workspace is now, where that is harmless; else the attempt has failed.

    A command with network that ran would act outside a second time, so it is left to retries and to people.
    """
    if step.attempt >= MAX_ATTEMPTS or (ran and step.spec.input.get("network")):
        return failed(step, failure)
    # Past other people's effects the step goes as far as there are attempts: nothing was computed for it.
    counts = failure.reason != Reason.EFFECT_NOT_OWNED
    if counts and step.superseded is not None and step.superseded.times >= MAX_SUPERSEDED:
        return failed(step, _too_often(run, step, failure))
    if is_drafted(step.spec) and not budget_left(run):
        # The draft was about the old content. As PENDING the step waits for its run's budget, which pauses.
        return [e.StepFailed(step.attempt, failure, will_retry=True, step=step.number)]
    void = tuple(r.approval.approval_id for r in step.reviewed if r.approval.attempt == step.attempt)
    named = tuple(path for path in str(failure.metadata.get("paths", "")).split("\n") if path)
    return [
        e.PreviewSuperseded(
            step.attempt + 1,
            failure.reason,
            failure.message,
            void,
            named[:_NAMED_PATHS],
            has_rules(run, ctx.policy),
            step=step.number,
        )
    ]


def _too_often(run: Run, step: Step, failure: Failure) -> Failure:
    return replace(
        failure,
        message=f"The workspace changed under this step {MAX_SUPERSEDED + 1} times; the last time: {failure.message}",
        fix="Stop what writes to the workspace's directory, "
        f"then try the step again with `interlock step retry {run.run_id} {step.number}`.",
        metadata={**failure.metadata, "superseded": str(MAX_SUPERSEDED)},
    )
