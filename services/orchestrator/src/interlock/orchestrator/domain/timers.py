"""When an open approval wants something by itself: a reminder, to go to others too, or its end.

The times follow from the journal alone, so that a restarted orchestrator finds them again. Reminders that fell due
while nobody was there are one reminder.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from interlock.orchestrator.domain.chain import parse_time
from interlock.orchestrator.domain.model import Step

MAX_REMINDERS: Final = 20
"""Most reminders of one approval, so that one that nobody ever answers does not fill the journal."""


def next_due(step: Step) -> datetime | None:
    """The next moment at which the step's open approval wants something; None when it never does."""
    times = (expires_at(step), escalates_at(step), reminds_at(step))
    return min((at for at in times if at is not None), default=None)


def expires_at(step: Step) -> datetime | None:
    """When it is over."""
    asked = step.approval
    return parse_time(asked.expires_at) if asked is not None and asked.expires_at else None


def escalates_at(step: Step) -> datetime | None:
    """When it goes to others too; None once it has."""
    asked = step.approval
    if asked is None or not asked.escalates_at or step.escalated_at is not None:
        return None
    return parse_time(asked.escalates_at)


def reminds_at(step: Step) -> datetime | None:
    """When those who can decide are reminded next; None when they are not, or not any more."""
    asked, since = step.approval, step.reminded_at or step.asked_at
    if asked is None or not asked.remind_us or since is None or step.reminders >= MAX_REMINDERS:
        return None
    return since + timedelta(microseconds=asked.remind_us)
