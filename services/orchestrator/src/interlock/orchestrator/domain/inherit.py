"""Steps that a fork takes over: what it records of them, and what they are in it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from interlock.orchestrator.domain.chain import parse_time, time_text
from interlock.orchestrator.domain.effects import Effects, Published, published
from interlock.orchestrator.domain.model import InheritedEffect, InheritedStep, Run, Step, StepState


def inherited_steps(first: int, steps: Iterable[InheritedStep], at: datetime) -> list[Step]:
    """The steps as the new run, made at `at`, has them: ended, with their results, without approvals and costs."""
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
            effects=_effects(step, at),
            inherited=True,
        )
        for number, step in enumerate(steps, first)
    ]


def inherited(run: Run, step: Step) -> InheritedStep:
    """A step of `run`, as the run is at the event that a fork stands on."""
    return InheritedStep(
        step.spec,
        step.state,
        step.attempt,
        step.prepared,
        step.reply_payload,
        step.failure,
        step.head_tree,
        tuple(_known(run, effect) for effect in _telling(step.effects)),
    )


def _telling(effects: Effects) -> Effects:
    """How it came in at first, and how it went, if it did: what came between says nothing about what is there."""
    first = published(effects)
    if first is None:
        return ()
    return (first, effects[-1]) if effects[-1].undone_by else (first,)


def _known(run: Run, effect: Published) -> InheritedEffect:
    return InheritedEffect(
        effect.seq - run.seq,
        time_text(effect.at),
        effect.attempt,
        effect.base_tree,
        effect.result_tree,
        effect.undone_by,
        effect.operation_id,
        (effect.by_run or run.run_id) if effect.undone_by else "",
    )


def _effects(step: InheritedStep, at: datetime) -> Effects:
    if step.effects:
        return tuple(
            Published(
                known.seq,
                parse_time(known.at),
                known.attempt,
                known.base_tree,
                known.result_tree,
                known.undone_by,
                known.operation_id,
                known.by_run,
            )
            for known in step.effects
        )
    done = step.prepared
    if step.state is not StepState.SUCCEEDED or done is None or not done.changes_tree:
        return ()
    return (Published(0, at, step.attempt, done.base_tree, done.result_tree),)
