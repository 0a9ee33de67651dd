"""Rights given in advance, and by which token and delegation: what has ended is taken back before it is used.

Envelopes and kept decisions answer for somebody who is not there. They stand for as long as what they were given by
does. Votes and decisions that were recorded stay: they were made by who could make them then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.chain import parse_time
from interlock.orchestrator.domain.model import RUN_FINAL, STEP_FINAL, EnvelopeState, Run


@dataclass(frozen=True, slots=True)
class Right:
    """What something was given by: how the giver proved who they are, and the delegation, if they used one."""

    authentication: str
    delegation: str = ""


def rights(run: Run, now: datetime) -> frozenset[Right]:
    """By which rights something stands in the run that a step could use."""
    if run.state in RUN_FINAL:
        return frozenset()
    return frozenset((*(right for _, right in _envelopes(run)), *(right for _, right in _kept(run, now))))


def ended(run: Run, now: datetime, over: Mapping[Right, str]) -> list[e.Event]:
    """Takes back what was given by rights that are `over`, with the reason of each."""
    found: list[e.Event] = [
        e.EnvelopeRevoked(envelope_id, "", over[right])
        for envelope_id, right in _envelopes(run)
        if right in over
    ]
    for event, right in _kept(run, now):
        if right in over:
            found.append(e.DecisionWithdrawn(event.subject, event.digest, over[right], step=event.step))
    return found


def _envelopes(run: Run) -> Iterable[tuple[str, Right]]:
    for each in run.envelopes:
        if each.state is EnvelopeState.ACTIVE:
            yield each.envelope_id, Right(each.authentication, each.delegation)


def _kept(run: Run, now: datetime) -> Iterable[tuple[e.DecisionWithdrawn, Right]]:
    for number in run.keeping:
        step = run.steps[number - 1]
        for each in step.early if step.state not in STEP_FINAL else ():
            if parse_time(each.until) > now:
                told = e.DecisionWithdrawn(each.subject, each.digest, step=number)
                yield told, Right(each.authentication, each.delegation)
