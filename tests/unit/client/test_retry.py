"""How long a service is waited for that does not answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from interlock.cli.session import _RETRY
from interlock.cli.supervisor import child
from interlock.client.retry import Retry, is_repeatable
from interlock.common.clock import ManualClock
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import orchestrator_pb2 as o

GONE = InterlockError(Reason.UNAVAILABLE, "The orchestrator cannot be reached.")


def waited(retry: Retry, is_there: Callable[[], bool] = lambda: True) -> float:
    """Seconds until it gives up, where every try fails at once."""
    assert isinstance(retry.clock, ManualClock)
    delays = retry.delays(is_there)
    while (delay := delays.after(GONE)) is not None:
        retry.clock.advance(delay)
    return retry.clock.monotonic()


def test_by_default_it_outlasts_the_longest_pause_of_the_supervisor_and_a_start() -> None:
    assert 28 < waited(Retry(clock=ManualClock())) <= 30
    assert Retry().seconds > child._LONGEST_DELAY + 15


def test_the_command_ends_early_where_nothing_was_ever_there() -> None:
    short = Retry(_RETRY.seconds, _RETRY.unseen, clock=ManualClock())
    assert 0.5 < waited(short, lambda: False) < 2


def test_whether_it_is_there_is_asked_every_time() -> None:
    clock = ManualClock()
    assert waited(Retry(unseen=1, clock=clock), lambda: clock.monotonic() > 0.3) > 28
    clock = ManualClock()
    assert waited(Retry(unseen=5, clock=clock), lambda: clock.monotonic() < 3) <= 5


def test_slow_tries_count() -> None:
    clock = ManualClock()
    delays = Retry(clock=clock).delays()
    tries = 0
    while delays.after(GONE) is not None:
        clock.advance(9)
        tries += 1
    assert tries == 4


def test_who_waits_long_is_told_once() -> None:
    told: list[tuple[InterlockError, float]] = []
    waited(Retry(clock=ManualClock(), tell=lambda error, seconds: told.append((error, seconds))))
    ((error, seconds),) = told
    assert error is GONE
    assert 27 < seconds <= 29


def test_who_waits_short_is_not_told() -> None:
    told: list[float] = []
    retry = Retry(seconds=0.9, clock=ManualClock(), tell=lambda _, seconds: told.append(seconds))
    waited(retry)
    assert told == []


@pytest.mark.parametrize(
    ("request_", "repeatable"),
    [
        (o.GetRunRequest(run_id="run-1"), True),
        (o.CreateRunRequest(goal="x"), False),
        (o.CreateRunRequest(goal="x", request_id="r"), True),
    ],
)
def test_a_mutation_is_repeated_with_its_request_id_only(request_: object, repeatable: bool) -> None:
    assert is_repeatable(request_) is repeatable  # type: ignore[arg-type]
