"""What two runs have in common, and what is said of how their steps differ."""

from __future__ import annotations

import pytest
from tests.support.journals import digest, history_of

from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.comparing import (
    Difference,
    said,
    same_execution,
    shared_beginning,
    undone_difference,
)


@pytest.mark.parametrize("at_step", [0, 1, 2])
def test_a_run_and_its_fork_begin_with_what_was_inherited(at_step: int) -> None:
    parent = history_of().run
    child = history_of().forked(at_step).run
    assert shared_beginning([child, parent], [parent]) == ("run-parent", at_step)
    assert shared_beginning([parent], [child, parent]) == ("run-parent", at_step)


def test_siblings_share_what_both_took_over_and_strangers_nothing() -> None:
    history = history_of()
    parent = history.run
    one, two = history.forked(1, "run-one"), history.forked(2, "run-two")
    assert shared_beginning([one.run, parent], [two.run, parent]) == ("run-parent", 1)
    grand = two.forked(2, "run-grand").run
    assert shared_beginning([grand, two.run, parent], [one.run, parent]) == ("run-parent", 1)
    assert shared_beginning([grand, two.run, parent], [two.run, parent]) == ("run-two", 2)
    assert shared_beginning([one.run], [two.run]) is None
    assert shared_beginning([parent], [parent]) == ("run-parent", 3)


def test_what_was_undone_in_one_of_them_is_said_and_is_still_the_same_step() -> None:
    parent = history_of()
    child = parent.forked(2).run
    parent.add(e.RunPaused("requested"), e.StepRevertRequested("op-1", digest("2"), digest("1"), step=2))
    parent.add(e.StepReverted("op-1", digest("1"), digest("2"), step=2))
    a, b = parent.run.steps[1], child.steps[1]
    assert same_execution(a, b)
    assert undone_difference(a, b) == [Difference("undone", "by revert op-1", "")]
    again = parent.run.steps[1]
    assert undone_difference(a, again) == []


@pytest.mark.parametrize(
    ("states", "subjects", "text"),
    [
        ([], [], ""),
        (["approved"], ["ann"], "approved by ann"),
        (["expired"], [""], "expired"),
        (["cancelled"], ["ann"], "withdrawn"),
        (
            ["superseded", "rejected"],
            ["ann", "bob"],
            "approved by ann, but the workspace changed and it was asked about again, then rejected by bob",
        ),
    ],
)
def test_decisions_in_words(states: list[str], subjects: list[str], text: str) -> None:
    assert said(states, subjects) == text
