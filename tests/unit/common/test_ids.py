from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.common.clock import ManualClock
from interlock.common.errors import InterlockError, Reason
from interlock.common.ids import SequentialIds, UlidIds, check_id


def test_known_ulid() -> None:
    # Time part of the example in the ULID specification: 01ARZ3NDEK is 1469922850259 ms.
    clock = ManualClock(datetime(2016, 7, 30, 23, 54, 10, 259000, tzinfo=UTC))
    new = UlidIds(clock, bytes).new("run")
    assert new == "run-01arz3ndek" + "0" * 16


def test_random_part_is_used_whole() -> None:
    ids = UlidIds(ManualClock(datetime.fromtimestamp(0, UTC)), lambda count: b"\xff" * count)
    assert ids.new("ws") == "ws-" + "0" * 10 + "z" * 16


def test_increments_within_a_millisecond() -> None:
    ids = UlidIds(ManualClock(), bytes)
    first, second = ids.new("run"), ids.new("run")
    assert first[:-1] == second[:-1]
    assert (first[-1], second[-1]) == ("0", "1")


def test_random_part_that_is_full_carries_into_the_time() -> None:
    ids = UlidIds(ManualClock(datetime.fromtimestamp(0, UTC)), lambda count: b"\xff" * count)
    first, second = ids.new("a"), ids.new("a")
    assert first < second
    assert second == "a-" + "0" * 9 + "1" + "0" * 16


@given(st.lists(st.integers(-5000, 5000), min_size=1, max_size=50))
def test_never_repeats_nor_goes_back_whatever_the_clock_does(moves: list[int]) -> None:
    clock = ManualClock()
    ids = UlidIds(clock)
    made = [ids.new("run")]
    for move in moves:
        clock.set_now(clock.now() + timedelta(milliseconds=move))
        made.append(ids.new("run"))
    assert made == sorted(set(made))


def test_two_generators_differ() -> None:
    clock = ManualClock()
    assert UlidIds(clock).new("run") != UlidIds(clock).new("run")


def test_sequential_ids_count_per_prefix_in_real_form() -> None:
    ids = SequentialIds()
    made = [ids.new("run"), ids.new("run"), ids.new("apr")]
    assert [text[-1] for text in made] == ["1", "2", "1"]
    for text in made:
        assert check_id(text, text.partition("-")[0]) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "run-",
        "run",
        "ws-01arz3ndektsv4rrffq69g5fav",
        "run-01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "run-01arz3ndektsv4rrffq69g5fa",
        "run-81arz3ndektsv4rrffq69g5fav",
        "run-01arz3ndektsv4rrffq69g5fal",
        "run-01arz3ndektsv4rrffq69g5fav\n",
        "run-" + "0" * 100_000,
    ],
)
def test_other_texts_are_no_ids(text: str) -> None:
    with pytest.raises(InterlockError) as caught:
        check_id(text, "run", field="run_id")
    assert caught.value.reason is Reason.INVALID_ARGUMENT
    assert caught.value.field == "run_id"
    assert len(str(caught.value)) < 200
