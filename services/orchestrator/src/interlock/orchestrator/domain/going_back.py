"""What a rollback does, effect by effect: which are taken out of the workspace, and which are put back into it."""

from __future__ import annotations

from collections.abc import Iterable

from interlock.orchestrator.domain.effects import Published, at_event, in_place, published
from interlock.orchestrator.domain.model import Step

Change = tuple[str, str]
"""The tree that is led from, and the one that is led to."""


def changes_back(steps: Iterable[Step], moment: int) -> tuple[Change, ...]:
    """What leads back to the effects that were there after event `moment`, in the order in which it is done.

    First what has come since goes, the last one first; then comes again what has gone since, the first one first.
    """
    outs: list[tuple[int, Change]] = []
    ins: list[tuple[int, Change]] = []
    for step in steps:
        now, then = in_place(step.effects), at_event(step.effects, moment)
        was = then if then is not None and not then.undone_by else None
        if now is not None and was is not None and now.attempt == was.attempt:
            continue
        if now is not None:
            outs.append((_first(step, now), (now.result_tree, now.base_tree)))
        if was is not None:
            ins.append((_first(step, was), (was.base_tree, was.result_tree)))
    return (*(pair for _, pair in sorted(outs, reverse=True)), *(pair for _, pair in sorted(ins)))


def _first(step: Step, effect: Published) -> int:
    """The event with which an attempt's effect came into the workspace at first."""
    found = published(tuple(known for known in step.effects if known.attempt == effect.attempt))
    return found.seq if found else effect.seq
