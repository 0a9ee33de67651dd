"""Values as people read them."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, strategies

from interlock.cli.text import (
    cost_text,
    enum_choices,
    enum_number,
    enum_text,
    first_line,
    labels_text,
    money_text,
    seconds_text,
    short_digest,
    size_text,
    time_text,
)
from interlock.v1.cost_pb2 import Cost, Money
from interlock.v1.decision_pb2 import ApprovalState
from interlock.v1.policy_pb2 import Gate
from interlock.v1.run_pb2 import RunState
from interlock.v1.step_pb2 import ChangeKind, StepKind, StepState
from interlock.v1.workspace_pb2 import FileType

ENUMS = [RunState, StepState, StepKind, Gate, ApprovalState, ChangeKind, FileType]


@pytest.mark.parametrize("wrapper", ENUMS)
def test_every_value_of_an_enum_has_a_short_name_and_back(wrapper: object) -> None:
    names = enum_choices(wrapper)
    assert len(names) == len(set(names)) == len(wrapper.DESCRIPTOR.values) - 1  # type: ignore[attr-defined]
    for name in names:
        number = enum_number(wrapper, name.lower())
        assert number
        assert enum_text(wrapper, number) == name
        assert not name.startswith(("RUN_STATE", "STEP_", "GATE", "APPROVAL_STATE", "CHANGE", "FILE"))


def test_values_from_the_future_stay_numbers() -> None:
    assert enum_text(RunState, 99) == "99"
    assert enum_number(RunState, "unspecified") is None
    assert enum_number(RunState, "nonsense") is None
    assert enum_number(RunState, "awaiting-approval") == RunState.RUN_STATE_AWAITING_APPROVAL


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000001"),
        (1_500_000, "$1.50"),
        (12_300, "$0.0123"),
        (1_234_567_890_000, "$1,234,567.89"),
    ],
)
def test_money(micros: int, text: str) -> None:
    assert money_text(micros) == text


@given(micros=strategies.integers(0, 10**15))
def test_money_loses_nothing(micros: int) -> None:
    dollars, _, rest = money_text(micros)[1:].replace(",", "").partition(".")
    assert int(dollars) * 1_000_000 + int(rest.ljust(6, "0")) == micros


def test_unknown_costs_are_not_zero() -> None:
    assert cost_text(Cost()) == "no model calls"
    assert cost_text(Cost(model_calls=2, unpriced_calls=2)) == "price unknown, tokens unknown, 2 model calls"
    known = Cost(total=Money(micros=0), prompt_tokens=1200, completion_tokens=34, model_calls=1)
    assert cost_text(known) == "$0.00, 1,234 tokens, 1 model call"
    part = Cost(total=Money(micros=500_000), unpriced_calls=1, model_calls=3, prompt_tokens=0)
    assert cost_text(part) == "at least $0.50 (1 unpriced), 0 tokens, 3 model calls"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 * 2**20, "5.0 MiB"),
        (2**40, "1.0 TiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0.0s"), (0.44, "0.4s"), (59.9, "59s"), (60, "1m 00s"), (185, "3m 05s"), (7380, "2h 03m")],
)
def test_durations(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_times() -> None:
    moment = Timestamp(seconds=1_795_348_800, nanos=5)
    assert time_text(moment) == "2026-11-22T12:00:00Z"
    assert time_text(Timestamp()) == ""


def test_lines_are_cut_visibly() -> None:
    assert first_line("one") == "one"
    assert first_line("one\ntwo").startswith("one")
    assert first_line("one\ntwo").endswith("…")
    assert len(first_line("x" * 500, 40)) == 40


def test_digests_and_labels() -> None:
    assert short_digest("sha256:" + "ab" * 32) == "abababababab"
    assert short_digest("") == ""
    assert labels_text({"b": "2", "a": "1"}.items()) == "a=1,b=2"
