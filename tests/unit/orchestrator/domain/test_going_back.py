"""Which effects a rollback takes out and puts back, and in which order."""

from __future__ import annotations

from dataclasses import replace

from tests.support.journals import context, digest, history_of

from interlock.orchestrator.convert import views
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import decide_run, undo
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.going_back import changes_back
from interlock.orchestrator.domain.model import RunState


def pairs(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((digest(name[0]), digest(name[1])) for name in names)


def test_the_last_one_goes_first_and_the_first_one_comes_back_first() -> None:
    run = history_of().run
    moments = [0, *(step.ended_seq for step in run.steps[:2])]
    assert [changes_back(run.steps, at) for at in moments] == [pairs("21", "10"), pairs("21"), ()]
    gone = history_of()
    gone.add(e.RunPaused("requested"))
    gone.add(*undo.roll_back(gone.run, context(), to_step=0))
    gone.add(*undo.rolled_back(gone.run, context(), "op-1", digest("0"), digest("2")))
    assert [changes_back(gone.run.steps, at) for at in moments] == [(), pairs("01"), pairs("01", "12")]


def test_a_step_tried_again_after_a_later_one_goes_before_it() -> None:
    journal = history_of()
    journal.add(e.RunPaused("requested"), e.StepRevertRequested("op-1", digest("1"), digest("0"), step=1))
    journal.add(e.StepReverted("op-1", digest("4"), digest("2"), merged=True, step=1))
    journal.add(e.StepRetried("ann", step=1), e.RunResumed("ann"))
    journal.edit(1, "4", "5", attempt=2)
    assert changes_back(journal.run.steps, 0) == pairs("54", "21")
    then = journal.run.steps[1].ended_seq
    assert changes_back(journal.run.steps, then) == pairs("54", "01"), (
        "the attempt of then in place of the new one"
    )


def test_the_action_carries_them_unless_it_is_to_be_that_very_tree() -> None:
    for forced in (False, True):
        journal = history_of()
        journal.add(e.RunPaused("requested"))
        journal.add(*undo.roll_back(journal.run, context(), to_step=0, discard_later_changes=forced))
        (wanted,) = [x for x in a.actions(journal.run) if isinstance(x, a.Restore)]
        whole = a.Restore("op-1", digest("0"), digest("2"), pairs("21", "10"))
        assert wanted == (replace(whole, from_tree="", changes=()) if forced else whole)


def test_what_people_did_is_an_event_of_its_own_before_it() -> None:
    journal = history_of()
    journal.add(e.RunPaused("requested"))
    journal.add(*undo.roll_back(journal.run, context(), to_step=1))
    found = undo.rolled_back(journal.run, context(), "op-1", digest("8"), digest("7"), merged=True)
    assert found == [
        e.DriftAdopted(digest("2"), digest("7")),
        e.RolledBack("op-1", digest("8"), digest("7"), merged=True),
    ]
    journal.add(*found)
    assert journal.run.head_tree == digest("8")
    assert undo.rolled_back(journal.run, context(), "op-1", digest("8"), digest("7")) == []
    (asked,) = undo.revert_step(journal.run, context(), 1)
    journal.add(asked)
    late = undo.reverted(journal.run, context(), "op-1", digest("9"), digest("8"), merged=True)
    assert [type(event) for event in late] == [e.StepReverted], "nothing that was known is told twice"


def test_a_run_that_another_one_went_back_over_says_what_is_gone_and_goes_on_from_there() -> None:
    journal = history_of()
    moment = journal.run.steps[0].ended_seq
    assert undo.goes_back_over(journal.run, moment)
    journal.look(3, "2")
    journal.add(e.RunCompleted(), e.RunOvertaken("run-other", "op-9", digest("1"), moment))
    shown = [views.step(journal.run, step, {}).undone for step in journal.run.steps]
    assert [(each.by, each.run_id, each.operation_id) for each in shown] == [
        ("", "", ""),
        ("rollback", "run-other", "op-9"),
        ("", "", ""),
    ]
    assert (journal.run.head_tree, views.run(journal.run).steps_undone) == (digest("1"), 1)
    assert not undo.goes_back_over(journal.run, moment)
    journal.add(*decide_run.retry_step(journal.run, context(), 2))
    assert journal.run.state is RunState.PAUSED
    waiting = views.step(journal.run, journal.run.steps[1], {})
    assert not waiting.HasField("undone"), "that was the attempt before"
    assert views.run(journal.run).steps_undone == 0


def test_a_rollback_of_another_run_may_bring_back_what_was_undone_since() -> None:
    journal = history_of()
    moment = journal.run.steps[1].ended_seq
    journal.look(3, "2")
    journal.add(e.RunCompleted())
    journal.add(*undo.roll_back(journal.run, context(), to_step=0))
    journal.add(*undo.rolled_back(journal.run, context(), "op-1", digest("0"), digest("2")))
    assert views.run(journal.run).steps_undone == 2
    journal.add(e.RunOvertaken("run-other", "op-9", digest("2"), moment))
    assert views.run(journal.run).steps_undone == 0
