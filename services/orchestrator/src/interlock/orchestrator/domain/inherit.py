"""Steps that a fork takes over."""

from __future__ import annotations

from collections.abc import Iterable

from interlock.orchestrator.domain.model import InheritedStep, Step


def inherited_steps(first: int, steps: Iterable[InheritedStep]) -> list[Step]:
    """The steps as the new run has them: ended, with their results, without approvals and costs."""
    return [
        Step(
            number,
            step.spec,
            state=step.state,
            attempt=step.attempt,
            prepared=step.prepared,
            reply_payload=step.reply_payload,
            failure=step.failure,
            head_tree=step.head_tree,
            inherited=True,
        )
        for number, step in enumerate(steps, first)
    ]
