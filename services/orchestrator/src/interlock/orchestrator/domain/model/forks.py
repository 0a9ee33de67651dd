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
class InheritedStep:
    """A step of another run as it had ended there: what was asked and what came of it, nothing that was decided."""

    spec: StepSpec
    state: StepState
    attempt: int = 0
    prepared: Prepared | None = None
    reply_payload: str = ""
    failure: Failure | None = None
    head_tree: str = ""
