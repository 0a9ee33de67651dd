"""What was done is taken back: the intent first, then how it ended."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.orchestrator.domain.event import Event
from interlock.orchestrator.domain.model import Failure


@dataclass(frozen=True, slots=True)
class RollbackRequested(Event):
    """The intent to go back to an older tree, recorded before it happens.

    `from_tree` is the head that the run left, what others did since stays; empty: to that very tree, whatever they did.
    """

    type = "run.rollback_requested"
    operation_id: str
    tree: str
    to_step: int = 0
    by: str = ""
    comment: str = ""
    from_tree: str = ""


@dataclass(frozen=True, slots=True)
class RolledBack(Event):
    """The older tree is published; with `merged`, it and what others had done since.

    `kept_paths` (at most 100 of `kept_total`) were saved by somebody meanwhile, and left as they are.
    """

    type = "run.rolled_back"
    operation_id: str
    head_tree: str
    previous_tree: str
    kept_paths: tuple[str, ...] = ()
    kept_total: int = 0
    merged: bool = False


@dataclass(frozen=True, slots=True)
class RollbackFailed(Event):
    """Nothing was published."""

    type = "run.rollback_failed"
    operation_id: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class RunReopened(Event):
    """A run that had ended, and of which something was undone, goes on: it waits to be resumed."""

    type = "run.reopened"
    by: str = ""


@dataclass(frozen=True, slots=True)
class RunOvertaken(Event):
    """Another run's rollback has put the workspace back to where it was after event `moment` of this one (0: before).

    It was written together with that run's own event: `by_run` and its `operation_id`. `head_tree` is the head now.
    """

    type = "run.overtaken"
    by_run: str
    operation_id: str
    head_tree: str
    moment: int = 0


@dataclass(frozen=True, slots=True)
class StepRevertRequested(Event):
    """The intent to take the step's effect, what led from `to_tree` to `from_tree`, out of the workspace."""

    type = "step.revert_requested"
    operation_id: str
    from_tree: str
    to_tree: str
    by: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class StepReverted(Event):
    """The step's effect is out of the workspace; with `merged`, other changes since are still in it.

    `kept_paths` (at most 100 of `kept_total`) were saved by somebody meanwhile, and left as they are.
    """

    type = "step.reverted"
    operation_id: str
    head_tree: str
    previous_tree: str
    merged: bool = False
    kept_paths: tuple[str, ...] = ()
    kept_total: int = 0


@dataclass(frozen=True, slots=True)
class StepRevertFailed(Event):
    """Nothing was changed."""

    type = "step.revert_failed"
    operation_id: str
    failure: Failure
