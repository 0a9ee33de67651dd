"""Timestamps of requests, whatever they say."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.convert.times import moment
from interlock.v1.rules_pb2 import BacktestPolicyRequest


def test_a_time_is_read_in_utc_and_an_absent_one_is_none() -> None:
    request = BacktestPolicyRequest(since=Timestamp(seconds=1_700_000_000, nanos=5000))
    assert moment(request, "since") == datetime(2023, 11, 14, 22, 13, 20, 5, tzinfo=UTC)
    assert moment(request, "until") is None


@pytest.mark.parametrize(
    "given",
    [
        (4, -77579),
        (0, 1_000_000_000),
        (-(2**63), 0),
        (2**63 - 1, 0),
        (253_402_300_800, 0),
        (-62_135_596_801, 0),
    ],
)
def test_what_is_no_time_is_refused_by_its_field(given: tuple[int, int]) -> None:
    request = BacktestPolicyRequest(until=Timestamp(seconds=given[0], nanos=given[1]))
    with pytest.raises(InterlockError) as refused:
        moment(request, "until")
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID_ARGUMENT, "until")
