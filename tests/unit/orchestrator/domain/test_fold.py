"""Folding: what `evolve` refuses, and what a long run costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.driven_run import DrivenRun, Stored, spec

from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.evolve import Recorded, evolve, fold
from interlock.orchestrator.domain.model import Approval, Failure, Gate, Policy, Prepared, Run, Verdict
from interlock.orchestrator.domain.steps import Chunked
from interlock.orchestrator.domain.transitions import (
    RUN,
    STEP,
    IllegalTransitionError,
    run_targets,
    step_targets,
)

FREE = Policy(edit_file_gate=Gate.NONE, run_command_gate=Gate.NONE)


def awaiting() -> DrivenRun:
    driven = DrivenRun([spec(), spec("read_file")], start=True)
    driven.settle()
    return driven


def next_event(run: Run, event: e.Event) -> Run:
    return evolve(run, Recorded(run.run_id, run.seq + 1, run.updated_at, event))


@pytest.mark.parametrize(
    "event",
    [
        e.RunStarted(),
        e.RunCompleted(),
        e.Planned(1),
        e.RunCreated("g", "w", "me"),
        e.StepsAdded(1, (spec(),)),
        e.StepsAdded(9, (spec(),)),
        e.RolledBack("op-1", "a", "b"),
        e.StepStarted(1, step=2),
        e.StepStarted(1, step=3),
        e.StepStarted(1, step=-1),
        e.StepSucceeded(1, step=1),
        e.StepExecuting(1, step=1),
        e.StepApplying(1, "apr-1", step=1),
        e.StepEdited(7, {"command": "x"}, step=1),
        e.StepFailed(2, Failure("X", "m"), step=1),
        e.ApprovalDecided("apr-99", Verdict.APPROVE, "sha256:x", "eve", step=1),
        e.ApprovalExpired("apr-99", step=1),
        e.ApprovalRequested(Approval("apr-9", Gate.EFFECT, "sha256:x", 1), step=1),
        e.StepPrepared(1, Prepared("r", "b", "p"), step=1),
        e.EffectDiscarded(1, step=1),
    ],
)
def test_an_event_that_cannot_happen_now_is_refused(event: e.Event) -> None:
    with pytest.raises(IllegalTransitionError):
        next_event(awaiting().run, event)


def test_a_second_step_beside_the_one_under_way_is_refused() -> None:
    driven = DrivenRun([spec(), spec()], policy=FREE, start=True)
    with pytest.raises(IllegalTransitionError, match="beside"):
        next_event(driven.run, e.StepStarted(1, step=2))


def test_an_effect_of_another_attempt_is_refused() -> None:
    driven = DrivenRun([spec()], policy=FREE, start=True)
    with pytest.raises(IllegalTransitionError, match="names 2"):
        next_event(driven.run, e.StepPrepared(2, Prepared("r", "b", "p"), step=1))
    with pytest.raises(IllegalTransitionError, match="is not under way"):
        next_event(replace(driven.run, state="PAUSED"), e.RolledBack("op-1", "a", "b"))


def _gap(journal: list[Stored]) -> list[Stored]:
    return [*journal[:2], *journal[3:]]


def _twice(journal: list[Stored]) -> list[Stored]:
    return [*journal[:2], *journal[1:]]


def _swapped(journal: list[Stored]) -> list[Stored]:
    return [journal[0], journal[2], journal[1], *journal[3:]]


def _headless(journal: list[Stored]) -> list[Stored]:
    return journal[1:]


@pytest.mark.parametrize("tamper", [_gap, _twice, _swapped, _headless])
def test_a_journal_with_a_gap_a_repetition_or_no_beginning(
    tamper: Callable[[list[Stored]], list[Stored]],
) -> None:
    with pytest.raises(IllegalTransitionError):
        fold(stored.recorded for stored in tamper(awaiting().journal))


def test_folding_goes_on_from_any_point() -> None:
    driven = awaiting()
    records = [stored.recorded for stored in driven.journal]
    for at in range(1, len(records)):
        assert fold(records[at:], fold(records[:at])) == driven.run
    assert fold([]) is None


def test_the_tables_name_every_event_that_changes_a_state() -> None:
    free = {"model.called", "workspace.drift_adopted", "step.effect_discarded", "run.overtaken"}
    free |= {"workspace.removed", "run.agent_named", "run.erased"}
    free |= {"workspace.removed", "run.set_aside", "run.taken_up"}
    assert set(e.REGISTRY) == set(RUN) | set(STEP) | free
    assert {t for t in free if t in RUN or t in STEP} == set()


def test_tables_refuse_what_they_do_not_name() -> None:
    run = awaiting().run
    assert run_targets("model.called", run.state) == (run.state,)
    assert step_targets("model.called", run.steps[0].state) == (run.steps[0].state,)
    with pytest.raises(IllegalTransitionError, match="cannot happen to a run that is AWAITING_APPROVAL"):
        run_targets("run.started", run.state)
    with pytest.raises(IllegalTransitionError, match="cannot happen to a step that is PENDING"):
        step_targets("step.failed", run.steps[1].state)


# -- long runs --------------------------------------------------------------------------------------------------


def _calls_of_a_step(steps: int) -> int:
    """Function calls that one whole step of a long run takes: a measure of work that no machine disturbs."""
    driven = DrivenRun([spec("read_file")] * steps, start=True)
    driven.laws.hold = lambda run: None  # type: ignore[method-assign]
    for _ in range(100):
        driven.act(a.Prepare)
    count = 0

    def counting(frame: object, kind: str, arg: object) -> None:
        nonlocal count
        count += kind in ("call", "c_call")

    action = driven.action(a.Prepare)
    result = driven.perform(action)
    events = driven.outcome(action, result)
    sys.setprofile(counting)
    try:
        run = driven.run
        for event in events:
            run = next_event(run, event)
    finally:
        sys.setprofile(None)
    return count


def test_an_event_takes_as_much_work_in_a_run_of_any_size() -> None:
    assert _calls_of_a_step(9_000) <= _calls_of_a_step(150) * 1.2


def test_ten_thousand_steps_end_and_fold() -> None:
    driven = DrivenRun([spec("read_file")] * 10_000)
    driven.command("skip_step", 1)
    driven.command("start")
    for _ in range(20):
        assert driven.run.current is not None
        assert driven.run.scan_from == driven.run.current.number + 1
        driven.act(a.Prepare)
    driven.command("cancel")
    driven.settle()
    assert driven.run.steps_done == 10_000
    driven.crash()


@given(st.lists(st.integers(), max_size=200), st.data())
def test_chunked_is_a_sequence_like_a_tuple(items: list[int], data: st.DataObject) -> None:
    chunked, plain = Chunked(items), tuple(items)
    more = data.draw(st.lists(st.integers(), max_size=130))
    assert tuple(chunked) == plain
    assert chunked.extend(more) == Chunked(items + more)
    assert len(chunked.extend(more)) == len(items) + len(more)
    assert hash(Chunked(items)) == hash(chunked)
    start, stop = data.draw(st.integers(-210, 210)), data.draw(st.integers(-210, 210))
    assert chunked[start:stop] == plain[start:stop]
    for index in {0, len(items) - 1, -len(items), -1, start} - {len(items)}:
        if -len(items) <= index < len(items):
            assert chunked[index] == plain[index]
        else:
            with pytest.raises(IndexError):
                chunked[index]
    if items:
        at = data.draw(st.integers(0, len(items) - 1))
        assert list(chunked.put(at, 7)) == [*items[:at], 7, *items[at + 1 :]]
        assert tuple(chunked) == plain
