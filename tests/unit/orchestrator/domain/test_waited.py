"""How long a step waited, told apart from how long it worked."""

from __future__ import annotations

from datetime import timedelta

from tests.support.driven_run import DrivenRun
from tests.support.driven_steps import one

from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain.model import RunState

TICK = timedelta(milliseconds=7)
"""What every transaction of a driven run takes."""


def worked(driven: DrivenRun) -> timedelta:
    step = driven.run.steps[0]
    assert step.started_at is not None
    assert step.ended_at is not None
    return step.ended_at - step.started_at - timedelta(microseconds=step.waited_us)


def later(driven: DrivenRun, **span: float) -> None:
    driven.now += timedelta(**span)


def test_a_decision_that_takes_a_day_is_waiting_and_not_working() -> None:
    driven = one("effect")
    later(driven, seconds=3)
    driven.act(a.Prepare)
    later(driven, days=1)
    driven.decide()
    later(driven, seconds=2)
    driven.settle()
    assert driven.run.state is RunState.COMPLETED
    assert driven.run.steps[0].waited_us == (timedelta(days=1) + TICK) // timedelta(microseconds=1)
    assert timedelta(seconds=5) < worked(driven) < timedelta(seconds=5.1)


def test_both_gates_are_waited_at() -> None:
    driven = one("both")
    driven.act(a.Propose)
    later(driven, hours=1)
    driven.decide()
    later(driven, seconds=4)
    driven.act(a.Prepare)
    later(driven, hours=2)
    driven.decide()
    driven.settle()
    assert driven.run.steps[0].waited_us // 1_000_000 == 3 * 3600
    assert timedelta(seconds=4) < worked(driven) < timedelta(seconds=4.1)


def test_what_is_rejected_waited_until_then() -> None:
    driven = one("effect")
    driven.act(a.Prepare)
    later(driven, minutes=5)
    driven.decide("reject")
    assert driven.states() == ["REJECTED"]
    assert driven.run.steps[0].waited_us // 1_000_000 == 300
    assert worked(driven) < timedelta(seconds=1)


def test_the_time_until_it_is_tried_again_is_not_work() -> None:
    driven = one("none")
    later(driven, seconds=1)
    driven.act(a.Prepare, "failed")
    assert driven.run.steps[0].waited_us == 0, "its end is not waited for"
    later(driven, days=2)
    driven.command("retry_step", 1)
    later(driven, seconds=1)
    driven.settle()
    assert driven.run.state is RunState.COMPLETED
    assert driven.run.steps[0].waited_us // 1_000_000 == 2 * 86400
    assert timedelta(seconds=2) < worked(driven) < timedelta(seconds=2.1)


def test_what_was_done_and_undone_begins_anew() -> None:
    driven = one("effect")
    driven.act(a.Prepare)
    later(driven, hours=1)
    driven.decide()
    driven.settle()
    driven.command("roll_back", to_step=0)
    driven.settle()
    later(driven, days=3)
    driven.command("retry_step", 1)
    step = driven.run.steps[0]
    assert (step.started_at, step.ended_at, step.waited_us) == (None, None, 0)
    later(driven, days=1)
    driven.command("resume")
    later(driven, seconds=2)
    driven.act(a.Prepare)
    later(driven, minutes=4)
    driven.decide()
    driven.settle()
    assert driven.states() == ["SUCCEEDED"]
    assert driven.run.steps[0].waited_us // 1_000_000 == 240
    assert timedelta(seconds=2) < worked(driven) < timedelta(seconds=2.1)


def test_one_that_never_started_did_not_wait() -> None:
    driven = one("effect")
    assert driven.run.steps[0].waited_us == 0
    skipped = DrivenRun([driven.run.steps[0].spec, driven.run.steps[0].spec], start=True)
    later(skipped, days=1)
    skipped.command("skip_step", 2)
    assert skipped.run.steps[1].waited_us == 0
