"""Rollback, revert and what follows them: which steps are in the workspace, and how a run goes on from there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.driven_run import DrivenRun, spec

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.effects import in_place, undone
from interlock.orchestrator.domain.evolve import Recorded, evolve
from interlock.orchestrator.domain.model import Gate, Policy, RunState
from interlock.orchestrator.domain.transitions import IllegalTransitionError

FREE = Policy(edit_file_gate=Gate.NONE, run_command_gate=Gate.NONE, steps_may_weaken=True)


def three(*, steps: int = 3) -> DrivenRun:
    """A run of three steps that have all changed something."""
    driven = DrivenRun([spec() for _ in range(steps)], policy=FREE, start=True)
    driven.settle()
    assert driven.run.state is RunState.COMPLETED
    return driven


def undo(driven: DrivenRun, name: str, *args: int, **kwargs: int) -> None:
    driven.command(name, *args, **kwargs)
    driven.settle()


def there(driven: DrivenRun) -> list[int]:
    """The steps whose effect is in the workspace; checked against the executor's own trees."""
    found = [s for s in driven.run.steps if in_place(s.effects)]
    pairs = {(x.base_tree, x.result_tree) for s in found if (x := in_place(s.effects))}
    assert pairs == driven.executor.present()
    return [s.number for s in found]


def gone(driven: DrivenRun) -> dict[int, str]:
    """The steps whose effect was undone, and by what."""
    return {s.number: x.undone_by for s in driven.run.steps if (x := undone(s.effects))}


def refused(driven: DrivenRun, name: str, *args: object, **kwargs: object) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        driven.command(name, *args, **kwargs)
    return caught.value


def test_a_revert_takes_out_one_step_and_the_others_stay() -> None:
    driven = three()
    undo(driven, "revert_step", 2)
    assert (there(driven), gone(driven)) == ([1, 3], {2: "revert"})
    assert driven.types()[-2:] == ["step.revert_requested", "step.reverted"]
    assert driven.states() == ["SUCCEEDED"] * 3
    assert driven.run.state is RunState.COMPLETED


def test_the_effects_own_trees_are_reverted_also_when_it_was_merged_with_drift() -> None:
    driven = DrivenRun([spec(gate="effect")], policy=FREE, start=True)
    driven.act(a.Prepare)
    driven.executor.drift()
    driven.decide()
    driven.settle()
    step = driven.run.steps[0]
    assert step.prepared is not None
    assert step.head_tree != step.prepared.result_tree, "merged"
    driven.command("revert_step", 1)
    wanted = driven.action(a.TakeOut)
    assert (wanted.from_tree, wanted.to_tree) == (step.prepared.result_tree, step.prepared.base_tree)


def test_a_conflict_changes_nothing_and_can_be_tried_again() -> None:
    driven = three()
    before = driven.run.head_tree
    driven.command("revert_step", 1)
    driven.act(a.TakeOut, "failed")
    assert driven.types()[-1] == "step.revert_failed"
    assert (there(driven), driven.run.head_tree, driven.run.undone) == ([1, 2, 3], before, False)
    undo(driven, "revert_step", 1)
    assert there(driven) == [2, 3]


def test_reverting_twice_is_refused_with_the_way_to_have_it_again() -> None:
    driven = three()
    undo(driven, "revert_step", 2)
    error = refused(driven, "revert_step", 2)
    assert error.reason is Reason.STEP_WRONG_STATE
    assert error.metadata["undone_by"] == "revert"
    assert "step retry run-1 2" in error.fix


def test_what_a_rollback_has_removed_cannot_be_reverted() -> None:
    driven = three()
    undo(driven, "roll_back", to_step=1)
    assert (there(driven), gone(driven)) == ([1], {2: "rollback", 3: "rollback"})
    assert refused(driven, "revert_step", 3).metadata["undone_by"] == "rollback"
    undo(driven, "revert_step", 1)
    assert there(driven) == []


def test_a_rollback_after_a_revert_is_a_step_back_in_time() -> None:
    driven = three()
    undo(driven, "revert_step", 1)
    undo(driven, "roll_back", to_step=2)
    assert there(driven) == [1, 2], "as it was after step 2, before the revert"
    undo(driven, "roll_back", to_step=0)
    assert there(driven) == []


def test_a_rollback_to_what_a_rollback_removed_goes_forward() -> None:
    driven = three()
    undo(driven, "roll_back", to_step=1)
    undo(driven, "roll_back", to_step=3)
    assert (there(driven), gone(driven)) == ([1, 2, 3], {})


def test_but_not_to_a_tree_with_an_attempt_that_was_replaced_since() -> None:
    driven = three()
    undo(driven, "roll_back", to_step=1)
    undo(driven, "retry_step", 2)
    undo(driven, "resume")
    assert there(driven) == [1, 2]
    error = refused(driven, "roll_back", to_step=3)
    assert (error.reason, error.metadata["step"]) == (Reason.STEP_WRONG_STATE, "2")
    undo(driven, "roll_back", to_step=1)
    assert there(driven) == [1]


@pytest.mark.parametrize(
    ("steps", "said"),
    [([spec("read_file")], "changed nothing"), ([spec(), spec("read_file")], "changed nothing")],
)
def test_a_step_without_effect_is_not_reverted(steps: list[object], said: str) -> None:
    driven = DrivenRun(steps, policy=FREE, start=True)  # type: ignore[arg-type]
    driven.settle()
    assert said in refused(driven, "revert_step", len(steps)).message


def test_a_step_that_never_took_effect_is_not_reverted() -> None:
    driven = DrivenRun([spec(), spec()], policy=FREE, start=True)
    driven.act(a.Prepare, "failed")
    for number in (1, 2):
        error = refused(driven, "revert_step", number)
        assert (error.reason, error.metadata["allowed"]) == (Reason.STEP_WRONG_STATE, "SUCCEEDED")
    assert refused(driven, "revert_step", 3).reason is Reason.STEP_NOT_FOUND


def test_one_undo_at_a_time() -> None:
    driven = three()
    driven.command("revert_step", 2)
    for name, args in (("revert_step", [1]), ("retry_step", [2]), ("add_steps", [[spec()]])):
        assert refused(driven, name, *args).reason is Reason.RUN_WRONG_STATE
    error = refused(driven, "roll_back", to_step=1)
    assert error.metadata["busy"] == "reverting its step 2"


def test_nothing_is_forked_while_a_revert_publishes() -> None:
    driven = DrivenRun([spec(), spec(gate="effect")], policy=FREE, start=True)
    for _ in range(3):
        driven.deliver(driven.wanted[0], driven.perform(driven.wanted[0]))
    driven.command("pause")
    driven.command("revert_step", 1)
    driven.decide()
    assert {type(x) for x in driven.wanted} == {a.TakeOut}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_of_either_side_finishes_it(when: str) -> None:
    driven = three()
    driven.command("revert_step", 2)
    action = driven.action(a.TakeOut)
    if when == "after":
        driven.perform(action)
    driven.crash()
    assert driven.action(a.TakeOut) == action
    driven.settle()
    assert there(driven) == [1, 3]


def test_a_result_that_arrives_twice_or_late_changes_nothing() -> None:
    driven = three()
    driven.command("revert_step", 2)
    action = driven.action(a.TakeOut)
    result = driven.perform(action)
    driven.deliver(action, result)
    assert driven.deliver(action, result) == []


# -- going on -------------------------------------------------------------------------------------------------


def completed() -> DrivenRun:
    return three()


def cancelled() -> DrivenRun:
    driven = DrivenRun([spec(), spec(gate="effect")], policy=FREE, start=True)
    for _ in range(3):
        driven.deliver(driven.wanted[0], driven.perform(driven.wanted[0]))
    driven.command("cancel")
    driven.settle()
    return driven


@pytest.mark.parametrize("make", [completed, cancelled])
def test_a_run_that_has_ended_goes_on_after_an_undo(make: Callable[[], DrivenRun]) -> None:
    driven = make()
    ended = driven.run.state
    assert refused(driven, "add_steps", [spec()]).metadata["current"] == ended.value
    assert refused(driven, "retry_step", 1).reason in (Reason.STEP_WRONG_STATE, Reason.RUN_WRONG_STATE)
    undo(driven, "roll_back", to_step=0)
    assert driven.run.state is ended
    driven.command("retry_step", 1)
    assert (driven.run.state, driven.run.pause_reason) == (RunState.PAUSED, "reopened")
    driven.command("add_steps", [spec()])
    assert driven.types()[-3:] == ["run.reopened", "step.retried", "run.steps_added"]
    assert driven.wanted == (), "nothing starts before a person says so"
    undo(driven, "resume")
    assert driven.run.state is RunState.COMPLETED
    assert there(driven) == [1, len(driven.run.steps)]


def test_a_failed_run_stays_failed_until_the_step_that_stopped_it_is_retried() -> None:
    driven = DrivenRun([spec(), spec(), spec()], policy=FREE, start=True)
    for _ in range(2):
        driven.deliver(driven.wanted[0], driven.perform(driven.wanted[0]))
    driven.act(a.Prepare, "failed")
    undo(driven, "roll_back", to_step=0)
    driven.command("retry_step", 1)
    driven.command("add_steps", [spec()])
    assert driven.run.state is RunState.FAILED
    driven.command("retry_step", 2)
    driven.settle()
    assert (driven.run.state, there(driven)) == (RunState.COMPLETED, [1, 2, 3, 4])


def test_a_paused_run_goes_on_with_its_next_step_not_with_what_was_undone() -> None:
    driven = DrivenRun([spec(), spec()], policy=FREE, start=True)
    driven.command("pause")
    driven.settle()
    undo(driven, "revert_step", 1)
    undo(driven, "resume")
    assert (there(driven), gone(driven)) == ([2], {1: "revert"})


def test_evolve_refuses_what_no_command_writes() -> None:
    """A journal that was made up: a retry of what was not undone, a reopening without an undo, a revert of nothing."""
    driven = three()
    at, seq = driven.now, driven.run.seq + 1
    made_up: list[e.Event] = [
        e.StepRetried(step=1),
        e.RunReopened(),
        e.StepReverted("op-9", "sha256:" + "0" * 64, "sha256:" + "1" * 64, step=1),
        e.RolledBack("op-9", "sha256:" + "0" * 64, "sha256:" + "1" * 64),
    ]
    for event in made_up:
        with pytest.raises(IllegalTransitionError):
            evolve(driven.run, Recorded("run-1", seq, at, event))


# -- waiting for the workspace --------------------------------------------------------------------------------


def test_a_run_that_waits_begins_once_and_as_the_one_who_asked() -> None:
    driven = DrivenRun([spec("read_file")])
    driven.command("wait_to_start", "run-0")
    assert driven.run.waiting is not None
    assert (driven.run.state, driven.run.waiting.holder) == (RunState.PLANNED, "run-0")
    assert driven.command("wait_to_start", "run-0") == [], "it waits already"
    action = driven.action(a.Begin)
    driven.crash()
    assert driven.action(a.Begin) == action
    started = driven.deliver(action, ("ok", None))
    assert started[0] == e.RunStarted("ann")
    assert driven.run.waiting is None
    assert driven.deliver(action, ("ok", None)) == []


def test_a_run_that_waits_is_cancelled_like_any_other() -> None:
    driven = DrivenRun([spec()])
    driven.command("wait_to_start", "run-0")
    driven.command("cancel")
    assert (driven.run.state, driven.run.waiting, driven.wanted) == (RunState.CANCELLED, None, ())


def test_only_a_planned_run_waits() -> None:
    assert refused(DrivenRun(), "wait_to_start", "").reason is Reason.RUN_EMPTY_PLAN
    assert refused(three(), "wait_to_start", "").reason is Reason.RUN_WRONG_STATE


def test_an_attempt_that_was_undone_says_nothing_of_the_one_after_it() -> None:
    driven = three()
    undo(driven, "revert_step", 3)
    assert [step.undone is not None for step in driven.run.steps] == [False, False, True]
    driven.command("retry_step", 3)
    assert driven.run.steps[2].undone is None, "it waits to be tried again"
    with pytest.raises(InterlockError, match="nothing of it is in the workspace"):
        driven.command("revert_step", 3)
    driven.command("resume")
    driven.settle("unchanged")
    assert driven.states() == ["SUCCEEDED"] * 3
    assert driven.run.steps[2].undone is None, "the second attempt had nothing to publish"
    with pytest.raises(InterlockError, match="COMPLETED"):
        driven.command("retry_step", 3)
