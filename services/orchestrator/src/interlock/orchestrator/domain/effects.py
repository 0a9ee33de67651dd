"""Which steps' effects are in the workspace: what each step published, and what became of it since."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Published:
    """An effect came into the workspace with event `seq`; or, with `undone_by`, it went out of it again.

    The effect is what led from `base_tree` to `result_tree`, whatever else was merged when it was published.
    `undone_by` is `rollback` or `revert`, `operation_id` the operation's, `at` the time of event `seq`. `by_run` is
    the run whose operation it was, empty for the step's own. What was so before a fork has a `seq` of 0 or less.
    """

    seq: int
    at: datetime
    attempt: int
    base_tree: str
    result_tree: str
    undone_by: str = ""
    operation_id: str = ""
    by_run: str = ""


Effects = tuple[Published, ...]
"""All that happened to what one step published, in order of events."""


def published(effects: Effects) -> Published | None:
    """How the attempt that counts came into the workspace at first, whatever became of it since."""
    return next((known for known in effects if known.attempt == effects[-1].attempt), None)


def in_place(effects: Effects) -> Published | None:
    """The effect that is in the workspace now."""
    return effects[-1] if effects and not effects[-1].undone_by else None


def undone(effects: Effects) -> Published | None:
    """How the effect was taken out of the workspace, if it was."""
    return effects[-1] if effects and effects[-1].undone_by else None


def at_event(effects: Effects, seq: int) -> Published | None:
    """What was so after event `seq`."""
    return next((known for known in reversed(effects) if known.seq <= seq), None)
