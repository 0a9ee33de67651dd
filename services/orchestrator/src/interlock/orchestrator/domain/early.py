"""Decisions that come before their question: kept, for a while, and given when exactly that question is asked.

They are bound to a digest: to what would run, or to what came of it. Who may decide is looked at when they are given,
as for any other decision; one that may not be given then is passed over.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.advance import advance
from interlock.orchestrator.domain.chain import parse_time, time_text
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.decide_approval import Decision, decide
from interlock.orchestrator.domain.model import (
    RUN_FINAL,
    EarlyDecision,
    RejectAction,
    Run,
    RunState,
    StepState,
    Verdict,
)
from interlock.orchestrator.domain.refuse import require_run, require_step

KEPT: Final = timedelta(hours=1)
MAX_EARLY: Final = 20
"""Most decisions that one step keeps."""


def decide_or_keep(run: Run, ctx: Context, number: int, decision: Decision) -> list[e.Event]:
    """Decides about the step's open question, or keeps the decision until it is asked.

    Raises STEP_NOT_FOUND, STEP_WRONG_STATE, RUN_WRONG_STATE, APPROVAL_DIGEST_MISMATCH, APPROVAL_ALREADY_VOTED for a
    second one of the same person, INVALID_ARGUMENT for an edit or an envelope, RESOURCE_EXHAUSTED.
    """
    step = run.step(number)
    if step is not None and step.approval is not None:
        return decide(run, ctx, step.approval.approval_id, decision)
    require_run(run, frozenset(RunState) - RUN_FINAL, "decide ahead")
    step = require_step(run, number, (StepState.PENDING, StepState.PREPARING), "decide ahead")
    if decision.verdict is Verdict.EDIT or decision.envelope is not None:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            "An edit and an envelope are about what was shown; they cannot be given ahead.",
            field="decision",
            fix="Wait until the step asks, then decide.",
        )
    known = _valid(step.early, ctx.now)
    before = next(
        (each for each in known if (each.digest, each.subject) == (decision.digest, decision.subject)), None
    )
    if before is not None:
        raise InterlockError(
            Reason.APPROVAL_ALREADY_VOTED,
            f"{decision.subject} has decided about {decision.digest} ahead before: {before.verdict.value}.",
            fix=f"It is kept until {before.until} and given when step {number} asks about that digest; nothing more is"
            " needed. To decide otherwise, cancel the run, or wait until the step asks about another digest.",
            metadata={"subject": decision.subject, "verdict": before.verdict.value, "until": before.until},
        )
    if len(known) >= MAX_EARLY:
        raise InterlockError(
            Reason.RESOURCE_EXHAUSTED, f"Step {number} keeps {MAX_EARLY} decisions, the most a step may."
        )
    kept = EarlyDecision(
        decision.verdict,
        decision.digest,
        decision.subject,
        time_text(ctx.now + KEPT),
        decision.channel,
        decision.comment,
        decision.action if decision.verdict is Verdict.REJECT else None,
        decision.authentication,
        decision.on_behalf_of,
        decision.delegation,
        decision.groups,
    )
    return [e.DecisionKept(kept, step=number)]


def follow(run: Run, at: datetime, policy: str = "") -> list[e.Event]:
    """What follows by itself at this moment: a kept decision about the question that is open, or `advance`."""
    given = _given(run, at)
    if given:
        return given
    event = advance(run, policy)
    return [event] if event is not None else []


def _given(run: Run, at: datetime) -> list[e.Event]:
    step = run.current
    if step is None or step.approval is None or not step.early or run.cancelling:
        return []
    for each in _valid(step.early, at):
        if each.digest != step.approval.digest:
            continue
        try:
            return decide(run, Context(at, _no_ids), step.approval.approval_id, _decision(each))
        except InterlockError:
            continue  # they may not decide about it, or not any more: people are asked
    return []


def _valid(early: tuple[EarlyDecision, ...], at: datetime) -> list[EarlyDecision]:
    return [each for each in early if parse_time(each.until) > at]


def _decision(kept: EarlyDecision) -> Decision:
    return Decision(
        kept.verdict,
        kept.digest,
        kept.subject,
        kept.channel,
        kept.comment,
        kept.action or RejectAction.FAIL_RUN,
        authentication=kept.authentication,
        on_behalf_of=kept.on_behalf_of,
        delegation=kept.delegation,
        groups=kept.groups,
    )


def _no_ids(prefix: str) -> str:
    raise AssertionError(f"a kept decision makes no {prefix}")
