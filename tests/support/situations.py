"""A run in each situation that a command can meet it in."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.driven_run import DrivenRun, spec

from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain.model import (
    Gate,
    Policy,
)

FREE = Policy(edit_file_gate=Gate.NONE, run_command_gate=Gate.NONE)


def created() -> DrivenRun:
    return DrivenRun()


def planning() -> DrivenRun:
    driven = DrivenRun()
    driven.command("plan")
    return driven


def planned() -> DrivenRun:
    return DrivenRun([spec(), spec()])


def running() -> DrivenRun:
    return DrivenRun([spec(), spec()], start=True)


def awaiting() -> DrivenRun:
    driven = running()
    driven.act(a.Propose)
    return driven


def paused() -> DrivenRun:
    driven = running()
    driven.command("pause")
    return driven


def paused_awaiting() -> DrivenRun:
    driven = awaiting()
    driven.command("pause")
    return driven


def completed() -> DrivenRun:
    driven = DrivenRun([spec("read_file")], start=True)
    driven.settle()
    return driven


def failed() -> DrivenRun:
    driven = DrivenRun([spec(), spec()], policy=FREE, start=True)
    driven.act(a.Prepare, "failed")
    return driven


def cancelled() -> DrivenRun:
    driven = awaiting()
    driven.command("cancel")
    return driven


def cancelling() -> DrivenRun:
    driven = DrivenRun([spec(), spec()], policy=FREE, start=True)
    driven.command("cancel")
    return driven


def unknown() -> DrivenRun:
    driven = DrivenRun([spec(), spec()], policy=FREE, start=True)
    driven.act(a.Prepare, "unknown")
    return driven


def rolling_back() -> DrivenRun:
    driven = failed()
    driven.command("roll_back", to_step=0)
    return driven


SITUATIONS: dict[str, Callable[[], DrivenRun]] = {
    f.__name__: f
    for f in (
        created,
        planning,
        planned,
        running,
        awaiting,
        paused,
        paused_awaiting,
        completed,
        failed,
        cancelled,
        cancelling,
        unknown,
        rolling_back,
    )
}
