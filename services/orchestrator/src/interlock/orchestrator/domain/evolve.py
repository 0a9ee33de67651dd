"""Folding events into a run. `evolve` is total on journals this software wrote and refuses everything else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.evolve_run import FIELDS, STATE_CHOICE, bookkeep
from interlock.orchestrator.domain.evolve_step import evolve_step
from interlock.orchestrator.domain.model import ZERO_DIGEST, Run, changed_run
from interlock.orchestrator.domain.transitions import IllegalTransitionError, run_targets


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event with its place in the run's chain."""

    run_id: str
    seq: int
    at: datetime
    event: e.Event
    digest: str = ZERO_DIGEST


def fold(records: Iterable[Recorded], run: Run | None = None) -> Run | None:
    """The state after all events, starting from `run`."""
    for record in records:
        run = evolve(run, record)
    return run


def evolve(run: Run | None, record: Recorded) -> Run:
    """The state after one event. Raises IllegalTransitionError for an event that cannot happen now."""
    event = record.event
    if run is None:
        return _created(record)
    if record.seq != run.seq + 1:
        raise IllegalTransitionError(f"event {record.seq} cannot follow event {run.seq}")
    changes: dict[str, Any] = {"seq": record.seq, "head": record.digest, "updated_at": record.at}
    targets = run_targets(event.type, run.state)
    changes["state"] = targets[0] if len(targets) == 1 else STATE_CHOICE[type(event)](run, event)
    if changes["state"] is not run.state:
        changes["state_since"] = record.at
    if event.step:
        old = run.step(event.step)
        if old is None:
            raise IllegalTransitionError(f"{event.type} names step {event.step}, which does not exist")
        new = evolve_step(old, event, record.seq, record.at, run.head_tree)
        changes["steps"] = run.steps.put(old.number - 1, new)
        changes.update(bookkeep(run, old, new, event))
    handler = FIELDS.get(type(event))
    if handler:
        changes.update(handler(run, event, record.at))
    return changed_run(run, changes)


def _created(record: Recorded) -> Run:
    event = record.event
    if not isinstance(event, e.RunCreated) or record.seq != 1:
        raise IllegalTransitionError(f"{event.type} cannot be the first event of a run")
    return Run(
        run_id=record.run_id,
        goal=event.goal,
        workspace_id=event.workspace_id,
        created_by=event.created_by,
        created_at=record.at,
        updated_at=record.at,
        state_since=record.at,
        policy=event.policy,
        budget=event.budget,
        labels=event.labels,
        workspace_labels=event.workspace_labels,
        traceparent=event.traceparent,
        replay_from=event.replay_from,
        fork=event.fork,
        steps_at_a_time=event.steps_at_a_time,
        most_steps=event.most_steps,
        base_tree=event.fork.tree if event.fork else "",
        head_tree=event.fork.tree if event.fork else "",
        seq=1,
        head=record.digest,
    )
