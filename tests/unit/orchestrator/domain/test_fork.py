"""Forking, in pure values: where a fork begins, what it takes over, and what counts no more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.support.journals import PLAN, Journal, context, digest, history_of

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.convert import views
from interlock.orchestrator.domain import decide_run, undo
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.advance import next_pending
from interlock.orchestrator.domain.effects import in_place, published, undone
from interlock.orchestrator.domain.events import decode, encode
from interlock.orchestrator.domain.evolve import Recorded, fold
from interlock.orchestrator.domain.model import (
    Failure,
    ForkOf,
    InheritedStep,
    RunState,
    StepKind,
    StepSpec,
    StepState,
)
from interlock.orchestrator.domain.transitions import IllegalTransitionError

FAILED = Failure("COMMAND_FAILED", "no")


def states(journal: Journal) -> list[str]:
    return [step.state.value for step in journal.run.steps]


@pytest.mark.parametrize(
    ("at_step", "tree", "seq"), [(0, "0", 3), (1, "1", 9), (2, "2", 15)], ids=["start", "one", "two"]
)
def test_a_fork_begins_where_the_step_ended(at_step: int, tree: str, seq: int) -> None:
    parent = history_of()
    begin = parent.beginning(at_step)
    assert (begin.tree, begin.seq, begin.head) == (digest(tree), seq, parent.sealed[seq - 1].digest)
    child = parent.forked(at_step).run
    assert child.fork == ForkOf("run-parent", seq, begin.head, digest(tree), at_step)
    assert (child.state, child.base_tree, child.head_tree) == (
        RunState.PLANNED,
        digest(tree),
        digest(tree),
    )


def test_the_steps_before_are_inherited_and_the_later_ones_are_pending_again() -> None:
    parent = history_of()
    child = parent.forked(1)
    assert states(child) == ["SUCCEEDED", "PENDING", "PENDING"]
    first, known = child.run.steps[0], parent.run.steps[0]
    assert (first.inherited, first.prepared, first.attempt) == (True, known.prepared, 1)
    assert [s.spec for s in child.run.steps] == list(PLAN)
    assert next_pending(child.run) is child.run.steps[1]
    assert child.run.steps_done == 1
    assert (child.run.goal, child.run.policy, child.run.created_by) == ("goal", parent.run.policy, "cleo")


def test_nothing_that_was_decided_counts() -> None:
    child = history_of().forked(2).run
    for step in child.steps:
        assert (step.approval, step.last_approval_id, step.approved_digest) == (None, "", "")
        assert (step.approved_request, step.reviewed) == ("", ())
    assert child.spent.calls == 0


def test_the_journal_of_a_fork_tells_all_of_it() -> None:
    child = history_of().forked(2)
    again = fold(
        Recorded(s.run_id, s.seq, s.at, decode(event.type, event.step, encode(event)), s.digest)
        for s, event in zip(child.sealed, child.events, strict=True)
    )
    assert again == child.run


def test_the_plan_can_be_left_out_and_then_there_is_nothing_to_start() -> None:
    child = history_of().forked(1, without_plan=True)
    assert (states(child), child.run.state) == (["SUCCEEDED"], RunState.CREATED)
    with pytest.raises(InterlockError) as caught:
        history_of().forked(1, without_plan=True, start=True)
    assert caught.value.reason is Reason.RUN_EMPTY_PLAN
    added = decide_run.add_steps(child.run, context(), [PLAN[2]])
    child.add(*added)
    assert (child.run.state, states(child)) == (RunState.PLANNED, ["SUCCEEDED", "PENDING"])


def test_planning_that_fails_leaves_a_fork_without_a_plan_as_it_was() -> None:
    child = history_of().forked(1, without_plan=True)
    child.add(e.PlanningStarted(), e.PlanningFailed(FAILED))
    assert child.run.state is RunState.CREATED


def test_a_step_that_was_tried_again_counts_as_it_ended_last() -> None:
    parent = Journal()
    parent.start()
    parent.add(e.StepStarted(1, step=1), e.StepFailed(1, FAILED, step=1), e.RunFailed(FAILED))
    assert parent.beginning(1).inherited[0].state is StepState.FAILED
    parent.add(e.StepRetried("ann", step=1), e.RunResumed("ann"))
    with pytest.raises(InterlockError) as caught:
        parent.beginning(1)
    assert caught.value.reason is Reason.STEP_WRONG_STATE
    parent.edit(1, "0", "1", attempt=2)
    begin = parent.beginning(1)
    assert (begin.tree, begin.inherited[0].state, begin.inherited[0].attempt) == (
        digest("1"),
        StepState.SUCCEEDED,
        2,
    )


def test_a_step_tried_again_after_a_later_one_brings_that_one_along() -> None:
    """Its tree is the one it left last, and that has the later step's effect in it."""
    parent = Journal()
    parent.start()
    parent.add(e.StepStarted(1, step=1), e.StepFailed(1, FAILED, step=1))
    parent.edit(2, "0", "2")
    parent.add(e.RunFailed(FAILED), e.StepRetried("ann", step=1), e.RunResumed("ann"))
    parent.edit(1, "2", "3", attempt=2)
    begin = parent.beginning(1)
    assert (begin.tree, [s.state.value for s in begin.inherited]) == (digest("3"), ["SUCCEEDED"] * 2)
    assert begin.pending == (PLAN[2],)
    assert parent.forked(1).run.inherited == 2
    second = parent.beginning(2)
    assert (second.tree, [s.state.value for s in second.inherited]) == (digest("2"), ["FAILED", "SUCCEEDED"])


@pytest.mark.parametrize("at_step", [0, 1, 2, 3])
def test_after_a_step_is_the_same_tree_for_forks_and_rollbacks(at_step: int) -> None:
    """Also where steps were undone, tried again, or passed over since."""
    parent = history_of()
    parent.look(3, "2")
    parent.add(e.RunCompleted(), e.StepRevertRequested("op-1", digest("1"), digest("0"), step=1))
    parent.add(e.StepReverted("op-1", digest("4"), digest("2"), merged=True, step=1))
    parent.add(e.RunReopened("ann"), e.StepRetried("ann", step=1), e.RunResumed("ann"))
    parent.edit(1, "4", "5", attempt=2)
    parent.add(e.RunCompleted())
    step = parent.run.step(at_step)
    shown = step.head_tree if step else parent.run.base_tree
    assert parent.beginning(at_step).tree == shown == undo.moment_after(parent.run, at_step)[0]
    if at_step in (0, 1):
        (asked,) = undo.roll_back(parent.run, context(), to_step=at_step)
        assert isinstance(asked, e.RollbackRequested)
        assert asked.tree == shown


def undone_before_the_last() -> Journal:
    """Steps 1 and 2 done, step 1 reverted, then step 3 on what was left."""
    parent = history_of()
    parent.add(e.RunPaused("requested"), e.StepRevertRequested("op-1", digest("1"), digest("0"), step=1))
    parent.add(e.StepReverted("op-1", digest("4"), digest("2"), merged=True, step=1), e.RunResumed("ann"))
    parent.edit(3, "4", "5")
    return parent


def test_what_had_been_undone_by_then_is_undone_in_the_fork_and_what_was_undone_later_is_not() -> None:
    parent = undone_before_the_last()
    parent.add(e.RunCompleted(), e.StepRevertRequested("op-2", digest("5"), digest("4"), step=3))
    parent.add(e.StepReverted("op-2", digest("4"), digest("5"), step=3))
    child = parent.forked(3).run
    assert child.head_tree == digest("5")
    first, second, third = child.steps
    gone = undone(first.effects)
    assert gone is not None
    assert (gone.undone_by, gone.operation_id, gone.by_run) == ("revert", "op-1", "run-parent")
    assert gone.at == undone(parent.run.steps[0].effects).at  # type: ignore[union-attr]
    assert [in_place(step.effects) is not None for step in (second, third)] == [True, True]
    assert in_place(parent.run.steps[2].effects) is None
    shown = views.step(child, first, {})
    assert (shown.inherited, shown.undone.by, shown.undone.run_id) == (True, "revert", "run-parent")
    early = parent.forked(2).run.steps[0]
    assert in_place(early.effects) is not None, "it was there when step 2 ended"


def test_what_a_fork_inherits_is_taken_out_put_back_and_tried_again_as_its_own() -> None:
    child = undone_before_the_last().forked(3)
    (asked,) = undo.revert_step(child.run, context(), 2)
    assert isinstance(asked, e.StepRevertRequested)
    assert (asked.from_tree, asked.to_tree) == (digest("2"), digest("1"))
    child.add(asked)
    with pytest.raises(InterlockError, match="reverting its step 2"):
        decide_run.add_steps(child.run, context(), [PLAN[2]])
    child.add(e.StepReverted(asked.operation_id, digest("6"), digest("5"), True, step=2))
    assert in_place(child.run.steps[1].effects) is None
    with pytest.raises(InterlockError, match="was undone already"):
        undo.revert_step(child.run, context(), 1)
    child.add(*undo.roll_back(child.run, context(), to_step=0))
    child.add(*undo.rolled_back(child.run, context(), "op-1", digest("5"), digest("6")))
    assert [in_place(step.effects) is not None for step in child.run.steps] == [False, True, True]
    child.add(*decide_run.add_steps(child.run, context(), [PLAN[2]]))
    child.add(*decide_run.retry_step(child.run, context(), 1))
    assert not child.run.steps[0].inherited


def test_a_fork_of_a_fork_keeps_what_it_knows_and_begins_nowhere_before_it() -> None:
    child = undone_before_the_last().forked(3)
    grand = child.forked(3, "run-grand").run
    gone = undone(grand.steps[0].effects)
    assert gone is not None
    assert (gone.by_run, gone.operation_id) == ("run-parent", "op-1")
    order = [published(step.effects).seq for step in grand.steps]  # type: ignore[union-attr]
    assert order == sorted(order)
    for at_step in (0, 1, 2):
        with pytest.raises(InterlockError) as caught:
            child.beginning(at_step)
        assert (caught.value.reason, caught.value.field) == (Reason.STEP_WRONG_STATE, "at_step")
        assert f"run fork run-parent --at-step {at_step}" in caught.value.fix


def test_a_fork_made_by_an_earlier_release_has_its_steps_effects_in_place() -> None:
    made = history_of().forked(2)
    old = [
        replace(ev, steps=tuple(replace(step, effects=()) for step in ev.steps))
        if isinstance(ev, e.StepsInherited)
        else ev
        for ev in made.events
    ]
    child = Journal("run-old", *old)
    now = [in_place(step.effects) for step in child.run.steps[:2]]
    assert [(known.base_tree, known.result_tree) for known in now if known] == [
        (digest("0"), digest("1")),
        (digest("1"), digest("2")),
    ]


def test_a_step_that_was_passed_over_counts_as_the_one_before_it() -> None:
    parent = history_of()
    parent.add(e.StepSkipped("ann", step=3), e.RunCompleted())
    begin = parent.beginning(3)
    assert (begin.tree, [s.state.value for s in begin.inherited]) == (
        digest("2"),
        ["SUCCEEDED", "SUCCEEDED", "SKIPPED"],
    )


def test_an_approvers_edit_of_an_earlier_step_stays_and_of_a_later_one_is_void() -> None:
    parent = history_of(1)
    parent.edit(2, "1", "2")
    edited = {"path": "b", "new_content": "other"}
    events = list(parent.events)
    at = next(i for i, ev in enumerate(events) if isinstance(ev, e.ApprovalDecided) and ev.step == 2)
    again = Journal("run-parent", *events[:at])
    again.add(e.StepEdited(2, edited, "effect", step=2))
    assert again.run.steps[1].spec.input == edited
    assert again.forked(1).run.steps[1].spec == PLAN[1]
    shown = events[at - 2]
    assert isinstance(shown, e.StepPrepared)
    again.add(e.StepPrepared(2, shown.prepared, step=2), e.StepSucceeded(2, digest("2"), step=2))
    assert again.forked(2).run.steps[1].spec.input == edited


def test_what_a_replanning_put_in_the_place_of_the_plan_is_left_out() -> None:
    parent = history_of(1)
    parent.add(e.PlanningStarted(feedback="no"), e.Planned(1, replaces_pending=True))
    new = StepSpec(StepKind.READ_FILE, {"path": "new"})
    parent.add(e.StepsAdded(4, (new,), "planner"))
    assert [s.spec for s in parent.forked(1).run.steps] == [*PLAN, new]
    parent.look(4, "1")
    parent.add(e.StepsAdded(5, (PLAN[0],), "ann"))
    assert [s.state.value for s in parent.forked(4).run.steps] == [
        "SUCCEEDED",
        "SKIPPED",
        "SKIPPED",
        "SUCCEEDED",
        "PENDING",
    ]


def test_a_replanning_after_the_beginning_is_not_part_of_it() -> None:
    parent = history_of(1)
    parent.add(e.StepStarted(1, step=2), e.StepFailed(1, FAILED, step=2))
    parent.add(e.PlanningStarted(feedback="no"), e.Planned(1, replaces_pending=True))
    parent.add(e.StepsAdded(4, (PLAN[0],), "planner"))
    assert [s.spec for s in parent.forked(1).run.steps] == list(PLAN)


@pytest.mark.parametrize(
    ("at_step", "reason"),
    [(3, Reason.STEP_WRONG_STATE), (4, Reason.STEP_NOT_FOUND), (99, Reason.STEP_NOT_FOUND)],
)
def test_a_step_that_has_not_ended_or_does_not_exist(at_step: int, reason: Reason) -> None:
    with pytest.raises(InterlockError) as caught:
        history_of().beginning(at_step)
    assert (caught.value.reason, caught.value.field) == (reason, "at_step")


def test_an_unknown_outcome_is_not_inherited() -> None:
    parent = Journal()
    parent.start()
    parent.add(e.StepStarted(1, step=1), e.StepOutcomeUnknown(FAILED, step=1))
    with pytest.raises(InterlockError) as caught:
        parent.beginning(1)
    assert caught.value.metadata["current"] == "OUTCOME_UNKNOWN"
    assert "step retry" in caught.value.fix


def test_a_fork_of_a_fork() -> None:
    child = history_of().forked(1)
    child.start()
    child.edit(2, "1", "9")
    grand = child.forked(2, "run-grand").run
    assert [(s.state.value, s.inherited) for s in grand.steps] == [
        ("SUCCEEDED", True),
        ("SUCCEEDED", True),
        ("PENDING", False),
    ]
    assert grand.fork is not None
    assert (grand.fork.run_id, grand.fork.tree) == ("run-child", digest("9"))
    root = child.forked(1, "run-other").run
    assert child.forked(1, "run-other").run.base_tree == digest("1")
    assert root.fork is not None
    assert (root.fork.tree, [s.inherited for s in root.steps]) == (digest("1"), [True, False, False])


def test_a_fork_is_rolled_back_to_its_beginning_and_not_beyond() -> None:
    child = history_of().forked(2)
    child.start()
    child.look(3, "2")
    child.add(e.RunCompleted())
    for to_step in (0, 2):
        (asked,) = undo.roll_back(child.run, context(), to_step=to_step)
        assert isinstance(asked, e.RollbackRequested)
        assert asked.tree == digest("2")
    with pytest.raises(InterlockError) as caught:
        undo.roll_back(child.run, context(), to_step=1)
    assert "--at-step 1" in caught.value.fix


def test_an_inherited_step_that_is_tried_again_is_the_forks_own() -> None:
    parent = Journal()
    parent.start()
    parent.add(e.StepStarted(1, step=1), e.StepFailed(1, FAILED, step=1))
    child = parent.forked(1)
    assert child.run.steps[0].inherited
    child.add(*decide_run.retry_step(child.run, context(), 1))
    assert (child.run.steps[0].inherited, child.run.steps[0].state) == (False, StepState.PENDING)
    assert next_pending(child.run) is child.run.steps[0]


def test_long_runs_are_inherited_in_events_of_bounded_size() -> None:
    plan = tuple(StepSpec(StepKind.READ_FILE, {"path": str(n)}) for n in range(450))
    parent = Journal("run-parent", e.RunCreated("g", "ws", "a"), e.StepsAdded(1, plan))
    parent.start()
    for step in range(1, 451):
        parent.look(step, "1")
    child = parent.forked(410)
    sizes = [len(ev.steps) for ev in child.events if isinstance(ev, e.StepsInherited)]
    assert sizes == [200, 200, 10]
    assert [s.spec for s in child.run.steps] == list(plan)


@pytest.mark.parametrize(
    "events",
    [
        [e.RunCreated("g", "ws", "a"), e.StepsInherited(1, (InheritedStep(PLAN[0], StepState.SUCCEEDED),))],
        [
            e.RunCreated("g", "ws", "a", fork=ForkOf("r", 1, "h", "t", 1)),
            e.StepsInherited(1, (InheritedStep(PLAN[0], StepState.PENDING),)),
        ],
        [
            e.RunCreated("g", "ws", "a", fork=ForkOf("r", 1, "h", "t", 1)),
            e.StepsInherited(2, (InheritedStep(PLAN[0], StepState.SUCCEEDED),)),
        ],
    ],
    ids=["no-fork", "not-ended", "gap"],
)
def test_a_journal_that_inherits_what_it_cannot_is_refused(events: list[Any]) -> None:
    with pytest.raises(IllegalTransitionError):
        Journal("run-x", *events)
