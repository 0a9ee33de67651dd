"""A preview that the workspace moved under: what becomes of its approval, and what the next one refers to."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.driven_run import DrivenRun, spec

from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import decide_step
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.model import Approval, Failure, Gate, Policy, RunState

FREE = Policy(steps_may_weaken=True)


def one(gate: str, **fields: Any) -> DrivenRun:
    return DrivenRun([spec("run_command", gate, **fields)], policy=FREE, start=True)


def asked(driven: DrivenRun) -> Approval:
    """The open approval, once everything that needs nobody is done."""
    driven.settle()
    assert driven.current.approval is not None
    return driven.current.approval


def overlap(driven: DrivenRun) -> list[e.Event]:
    """Somebody changes what the approved effect changes; the executor refuses to publish it."""
    driven.executor.drift()
    return driven.act(a.Apply, disjoint=False)


def test_the_next_approval_names_the_one_it_replaces() -> None:
    driven = one("effect")
    first = asked(driven)
    assert first.replaces == ""
    driven.decide()
    (event,) = (x for x in overlap(driven) if isinstance(x, e.PreviewSuperseded))
    assert event.approval_ids == (first.approval_id,)
    second = asked(driven)
    assert second.replaces == first.approval_id
    assert second.attempt == 2
    assert second.digest != first.digest
    driven.decide()
    overlap(driven)
    third = asked(driven)
    assert third.replaces == second.approval_id
    driven.decide()
    driven.settle()
    assert driven.run.state is RunState.COMPLETED


def test_what_was_reviewed_is_kept_whole_for_the_comparison() -> None:
    driven = one("effect")
    first = asked(driven)
    shown = driven.current.prepared
    driven.decide(comment="fine", channel="cli")
    overlap(driven)
    reviewed = driven.current.review(Gate.EFFECT)
    assert reviewed is not None
    assert (reviewed.approval, reviewed.shown) == (first, shown)
    assert (reviewed.subject, reviewed.channel, reviewed.comment) == ("bob", "cli", "fine")
    assert reviewed.asked_at < reviewed.decided_at


def test_a_command_gate_before_it_runs() -> None:
    driven = one("command")
    first = asked(driven)
    driven.decide()
    driven.executor.drift()
    (event,) = (x for x in driven.act(a.Prepare) if isinstance(x, e.PreviewSuperseded))
    assert event.reason == "EFFECT_DIGEST_MISMATCH"
    assert event.approval_ids == (first.approval_id,)
    assert asked(driven).replaces == first.approval_id
    assert driven.executor.ran == []


def test_gate_both_replaces_each_question_by_its_own_kind() -> None:
    driven = one("both")
    command = asked(driven)
    driven.decide()
    effect = asked(driven)
    assert effect.replaces == ""
    driven.decide()
    (event,) = (x for x in overlap(driven) if isinstance(x, e.PreviewSuperseded))
    assert event.approval_ids == (command.approval_id, effect.approval_id)
    again = asked(driven)
    assert (again.gate, again.replaces) == (Gate.COMMAND, command.approval_id)
    driven.decide()
    last = asked(driven)
    assert (last.gate, last.replaces) == (Gate.EFFECT, effect.approval_id)


def test_an_edit_starts_anew() -> None:
    driven = one("effect")
    asked(driven)
    driven.decide()
    overlap(driven)
    asked(driven)
    driven.edit(command="something else")
    assert driven.current.superseded is None
    assert asked(driven).replaces == "", "nobody has reviewed another command"


def test_a_retry_starts_anew() -> None:
    driven = one("effect")
    asked(driven)
    driven.decide()
    overlap(driven)
    driven.settle("failed")
    assert driven.states() == ["FAILED"]
    driven.command("retry_step", 1)
    assert asked(driven).replaces == ""


def test_a_question_that_nobody_approved_is_not_replaced() -> None:
    driven = DrivenRun([spec("run_command", "effect", retries=1, command="make")], policy=FREE, start=True)
    asked(driven)
    driven.decide("reject")
    driven.command("retry_step", 1)
    assert asked(driven).replaces == ""


@pytest.mark.parametrize("count", [1, 20, 21, 300])
def test_the_paths_in_the_way_are_journaled_up_to_a_limit(count: int) -> None:
    driven = one("effect")
    asked(driven)
    driven.decide()
    named = [f"file-{n}" for n in range(count)]
    why = Failure("WORKSPACE_DRIFTED", "somebody", metadata={"paths": "\n".join(named)})
    driven.tx(decide_step.action_failed(driven.run, driven.ctx(), 1, 1, why))
    assert driven.current.superseded is not None
    assert driven.current.superseded.paths == tuple(named[:20])
    assert driven.current.superseded.reason == "WORKSPACE_DRIFTED"


def test_a_crash_forgets_nothing_of_it() -> None:
    driven = one("effect")
    first = asked(driven)
    driven.decide()
    overlap(driven)
    driven.crash()
    assert asked(driven).replaces == first.approval_id
