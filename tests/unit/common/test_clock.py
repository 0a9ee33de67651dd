from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.common.clock import ManualClock, SystemClock, parse_rfc3339, rfc3339


def test_system_clock_is_utc_and_never_goes_back() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)


def test_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(datetime(2026, 11, 22, 12, tzinfo=UTC))
    before = clock.now()
    clock.advance(1.5)
    assert clock.now() - before == timedelta(seconds=1.5)
    assert clock.monotonic() == 1.5


def test_manual_clock_can_be_set_back_but_its_monotonic_reading_cannot() -> None:
    clock = ManualClock()
    clock.advance(10)
    clock.set_now(datetime(2020, 1, 1, tzinfo=UTC))
    assert clock.now().year == 2020
    assert clock.monotonic() == 10
    with pytest.raises(ValueError, match="go back"):
        clock.advance(-1)


def test_rfc3339_has_one_form() -> None:
    moment = datetime(2026, 11, 22, 14, 0, 0, 0, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(moment) == "2026-11-22T12:00:00.000000Z"


def test_rfc3339_refuses_naive_times() -> None:
    with pytest.raises(ValueError, match="zone"):
        rfc3339(datetime(2026, 1, 1))  # noqa: DTZ001


@given(st.datetimes(timezones=st.just(UTC)))
def test_rfc3339_round_trips_and_sorts_as_time_does(moment: datetime) -> None:
    text = rfc3339(moment)
    assert len(text) == 27
    assert parse_rfc3339(text) == moment
    assert (text < rfc3339(datetime(2026, 1, 1, tzinfo=UTC))) == (moment < datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "text",
    ["", "2026-11-22", "2026-11-22T12:00:00Z", "2026-11-22T12:00:00.1Z", "2026-11-22T12:00:00.000000+00:00"],
)
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_rfc3339(text)
