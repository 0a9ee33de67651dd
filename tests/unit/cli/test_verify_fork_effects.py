"""What a fork says of the effects it inherits, compared with the journal of the run it comes from."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.journals import CHILD, PLAN, Journal, bundle, context, digest, history_of, real

from interlock.orchestrator.domain import decide_run, undo
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.chain import parse_time, seal
from interlock.verify.bundle import verify_family

Bend = Callable[[list[dict[str, Any]]], None]


def reverted() -> Journal:
    """Steps 1 and 2 done, step 1 reverted, then step 3 on what was left."""
    parent = history_of()
    parent.add(e.RunPaused("requested"), e.StepRevertRequested("op-1", digest("1"), digest("0"), step=1))
    parent.add(e.StepReverted("op-1", digest("4"), digest("2"), merged=True, step=1), e.RunResumed("ann"))
    parent.edit(3, "4", "5")
    return parent


def rolled_back() -> Journal:
    """Steps 1 and 2 done, gone back to after step 1, and step 3 on that."""
    parent = history_of()
    parent.add(e.RunPaused("requested"))
    parent.add(*undo.roll_back(parent.run, context(), to_step=1))
    operation = parent.run.rollback.operation_id if parent.run.rollback else ""
    parent.add(*undo.rolled_back(parent.run, context(), operation, digest("1"), digest("2")))
    parent.add(e.RunResumed("ann"))
    parent.edit(3, "1", "5")
    return parent


def overtaken() -> Journal:
    """The same, where it was another run that went back."""
    parent = history_of()
    moment = parent.run.steps[0].ended_seq
    parent.add(
        e.RunPaused("requested"),
        e.RunOvertaken("run-other", "op-9", digest("1"), moment),
        e.RunResumed("ann"),
    )
    parent.edit(3, "1", "5")
    return parent


def tried_again() -> Journal:
    parent = rolled_back()
    parent.add(e.RunCompleted())
    parent.add(*decide_run.retry_step(parent.run, context(), 2), e.RunResumed("ann"))
    parent.edit(2, "5", "6", attempt=2)
    return parent


def bent(journal: Journal, change: Callable[[dict[str, Any]], None]) -> list[bytes]:
    """A fork's bundle that says something else of its inherited steps, chained anew with the same care."""
    head, out = "sha256:" + "0" * 64, []
    for sealed in journal.sealed:
        event = json.loads(sealed.canonical)
        if event["type"] == "run.steps_inherited":
            change(event["data"])
        at = parse_time(event["at"])
        new = seal(event["run_id"], event["seq"], head, at, event["type"], event["step"], event["data"])
        out.append(new.canonical)
        head = new.digest
    return bundle(CHILD, out, head)


def found(child: list[bytes], *parents: Journal) -> list[str]:
    return real(verify_family(child, [parent.bundle() for parent in parents]).problems)


@pytest.mark.parametrize("made", [reverted, rolled_back, overtaken, tried_again])
def test_a_fork_that_tells_what_was_undone_holds(made: Callable[[], Journal]) -> None:
    parent = made()
    child = parent.forked(3)
    assert found(child.bundle(), parent) == []
    child.add(*decide_run.add_steps(child.run, context(), [PLAN[2]]))
    child.start()
    child.look(4, child.run.head_tree[-1])
    grand = child.forked(4, "run-grand")
    assert found(grand.bundle(), child, parent) == []


def test_what_a_fork_undoes_itself_is_not_what_it_inherited() -> None:
    parent = reverted()
    child = parent.forked(3)
    child.add(*undo.revert_step(child.run, context(), 2))
    operation = child.run.revert.operation_id if child.run.revert else ""
    child.add(e.StepReverted(operation, digest("6"), digest("5"), True, step=2))
    child.add(*decide_run.add_steps(child.run, context(), [PLAN[2]]))
    child.add(*decide_run.retry_step(child.run, context(), 2))
    assert found(child.bundle(), parent) == []


@pytest.mark.parametrize(
    ("step", "bend"),
    [
        (1, lambda effects: effects.pop()),
        (1, lambda effects: effects[1].update(operation_id="op-2")),
        (1, lambda effects: effects[1].update(undone_by="rollback")),
        (1, lambda effects: effects[1].update(by_run="run-other")),
        (1, lambda effects: effects[1].update(at="2026-11-22T12:00:00.000000Z")),
        (1, lambda effects: effects[0].update(seq=-1)),
        (2, lambda effects: effects[0].update(result_tree=digest("7"))),
        (2, lambda effects: effects[0].update(base_tree=digest("7"))),
        (2, lambda effects: effects[0].update(attempt=2)),
        (2, lambda effects: effects.append({**effects[0], "undone_by": "revert", "operation_id": "op-1"})),
        (3, lambda effects: effects.clear()),
    ],
    ids=[
        "in place",
        "operation",
        "kind",
        "run",
        "time",
        "event",
        "result",
        "base",
        "attempt",
        "undone",
        "nothing",
    ],
)
def test_a_fork_that_lies_about_an_effect_is_found(step: int, bend: Bend) -> None:
    parent = reverted()
    lying = bent(parent.forked(3), lambda data: bend(data["steps"][step - 1]["effects"]))
    assert found(lying, parent) == [f"fork: inherited step {step} is not as it was in run-parent: effects"]


def test_a_fork_that_leaves_out_what_was_undone_is_found_and_one_of_an_earlier_release_is_not() -> None:
    def silent(data: dict[str, Any]) -> None:
        for step in data["steps"]:
            step.pop("effects", None)

    assert "inherited step 1" in str(found(bent(reverted().forked(3), silent), reverted()))
    plain = history_of(3)
    assert found(bent(plain.forked(3), silent), plain) == []
