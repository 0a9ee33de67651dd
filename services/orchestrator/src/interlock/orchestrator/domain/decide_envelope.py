"""Granting and revoking envelopes, by themselves or with an approval."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.chain import time_text
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.envelopes import check_bounds, check_may_grant
from interlock.orchestrator.domain.model import RUN_FINAL, Bounds, EnvelopeState, Run, RunState, Step
from interlock.orchestrator.domain.refuse import require_run
from interlock.orchestrator.domain.votes import Voter

SIGNED: Final = "oidc:"
MOST_BY_SIGNED_US: Final = 12 * 3600 * 1_000_000
"""How long what a provider's person has granted lasts at most: a signed token cannot be asked about later."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What is granted, and for how many microseconds (0: as long as the run)."""

    bounds: Bounds
    lasts_us: int = 0


@dataclass(frozen=True, slots=True)
class Granter:
    """Who grants, how they proved who they are, through what, and why."""

    voter: Voter
    authentication: str = ""
    channel: str = ""
    comment: str = ""
    delegation: str = ""


def grant(run: Run, ctx: Context, asked: Grant, by: Granter) -> list[e.Event]:
    """Grants an envelope for what is left of a run. Raises PERMISSION_DENIED, INVALID_ARGUMENT, RUN_WRONG_STATE."""
    require_run(run, frozenset(RunState) - RUN_FINAL, "grant an envelope", during_rollback=True)
    check_bounds(asked.bounds, "bounds")
    check_may_grant(run, by.voter)
    return [granted(ctx, asked, by)]


def check_grant(run: Run, step: Step, asked: Grant, by: Voter) -> None:
    """Whether one may be granted with the approval of a step. Raises PERMISSION_DENIED, INVALID_ARGUMENT."""
    check_bounds(asked.bounds, "decision.approve.envelope")
    check_may_grant(run, by, step)


def granted(ctx: Context, asked: Grant, by: Granter, *, approval_id: str = "", digest: str = "") -> e.Event:
    """The event of a grant that is allowed."""
    lasts_us = asked.lasts_us
    if by.authentication.startswith(SIGNED):
        lasts_us = min(lasts_us or MOST_BY_SIGNED_US, MOST_BY_SIGNED_US)
    until = time_text(ctx.now + timedelta(microseconds=lasts_us)) if lasts_us else ""
    return e.EnvelopeGranted(
        ctx.new_id("env"),
        asked.bounds,
        by.voter.subject,
        by.voter.on_behalf_of,
        by.delegation,
        by.authentication,
        by.channel,
        by.comment,
        approval_id,
        digest,
        until,
        by.voter.groups,
    )


def revoke(run: Run, ctx: Context, envelope_id: str, comment: str = "") -> list[e.Event]:
    """Takes an envelope back; nothing, when it is no longer active. Raises ENVELOPE_NOT_FOUND."""
    found = next((each for each in run.envelopes if each.envelope_id == envelope_id), None)
    if found is None:
        raise InterlockError(
            Reason.ENVELOPE_NOT_FOUND,
            f"{run.run_id} has no envelope {envelope_id}.",
            field="envelope_id",
            metadata={"run_id": run.run_id, "envelope_id": envelope_id},
        )
    if found.state is not EnvelopeState.ACTIVE or run.state in RUN_FINAL:
        return []
    return [e.EnvelopeRevoked(envelope_id, ctx.subject, comment)]
