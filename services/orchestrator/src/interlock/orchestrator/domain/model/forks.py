"""Where a fork comes from, and what it inherits."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.orchestrator.domain.model.reviews import Prepared
from interlock.orchestrator.domain.model.specs import Failure, StepSpec
from interlock.orchestrator.domain.model.states import StepState


@dataclass(frozen=True, slots=True)
class ForkOf:
    """Where a fork comes from: event `seq` of another run's journal, its digest `head`, and the tree it began with.

    Steps up to `at_step` are inherited.
    """

    run_id: str
    seq: int
    head: str
    tree: str
    at_step: int = 0


@dataclass(frozen=True, slots=True)
class InheritedEffect:
    """What an inherited step had published, from `base_tree` to `result_tree`; with `undone_by`: that it went again.

    `seq` counts back from the event that the fork stands on (0 is that event), `at` is that event's RFC 3339 time.
    `undone_by` is `rollback` or `revert`, `operation_id` the operation's, in the journal of the run `by_run`.
    """

    seq: int
    at: str
    attempt: int
    base_tree: str
    result_tree: str
    undone_by: str = ""
    operation_id: str = ""
    by_run: str = ""


@dataclass(frozen=True, slots=True)
class InheritedStep:
    """A step of another run as it had ended there: what was asked and what came of it, nothing that was decided.

    `effects` is what it published, and, where that was undone before the fork, how. Forks of earlier releases do
    not have it: what such a step published counts as being in place.
    """

    spec: StepSpec
    state: StepState
    attempt: int = 0
    prepared: Prepared | None = None
    reply_payload: str = ""
    failure: Failure | None = None
    head_tree: str = ""
    effects: tuple[InheritedEffect, ...] = ()
