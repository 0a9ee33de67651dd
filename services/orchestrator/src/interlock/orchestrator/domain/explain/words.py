"""What an explanation is made of, and what it has to know beside the run's journal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from interlock.orchestrator.domain.model import Failure


class Cause(StrEnum):
    """What a run waits for."""

    NOTHING = "nothing"
    PLAN = "plan"
    START = "start"
    WORKSPACE_BUSY = "workspace_busy"
    DECISION = "decision"
    PERSON = "person"
    BUDGET = "budget"
    OUTCOME_UNKNOWN = "outcome_unknown"
    STEP_FAILED = "step_failed"
    SET_ASIDE = "set_aside"
    DRIVER = "driver"
    EXECUTOR = "executor"
    WORKSPACE = "workspace"
    PLANNER = "planner"
    MODEL = "model"
    WORK = "work"


@dataclass(frozen=True, slots=True)
class Option:
    """A command ready to be given, and what it does."""

    command: str
    effect: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """`summary` says what the run waits for `since` then; `details` are sentences about it, `options` commands."""

    cause: Cause
    summary: str
    since: datetime
    details: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()


@dataclass(frozen=True, slots=True)
class Driver:
    """Who has the run's lease, as the database tells; `living` when its heartbeat is not over."""

    owner: str = ""
    living: bool = False
    silent_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """Who has the workspace that the run waits for (empty: nobody), and how many are served before it."""

    holder: str
    ahead: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """What an action of the run waits for, as the orchestrator that drives the run told: it is tried again."""

    action: str
    failure: Failure
    since: datetime
    tries: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What was looked up: `executor` and `planner` say why they do not answer, None when they do or were not asked.

    `workspace`: why the executor will not touch the workspace. `lease` is the seconds after which a silent driver is
    taken over from.
    """

    driver: Driver
    lease: float = 6.0
    line: Line | None = None
    executor: Failure | None = None
    planner: Failure | None = None
    workspace: Failure | None = None
    troubles: tuple[Trouble, ...] = ()
