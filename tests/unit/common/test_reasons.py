from __future__ import annotations

import grpc
import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.common.reasons import TABLE
from interlock.v1 import error_reason_pb2


def test_every_reason_has_exactly_one_entry() -> None:
    assert set(TABLE) == set(Reason)


def test_names_are_those_of_the_wire_enum() -> None:
    wire = {
        name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
    }
    assert {reason.name for reason in Reason} == wire - {"UNSPECIFIED"}
    assert all(reason.name == reason.value for reason in Reason)


@pytest.mark.parametrize("reason", list(Reason))
def test_entry_is_complete(reason: Reason) -> None:
    info = TABLE[reason]
    assert info.code in grpc.StatusCode.__members__
    assert info.code not in ("OK", "CANCELLED", "UNKNOWN")
    assert info.meaning.endswith(".")
    assert info.fix.endswith(".")
    assert len(info.meaning) <= 110
    assert len(info.fix) <= 200


def test_error_takes_what_it_does_not_say_from_the_table() -> None:
    error = InterlockError(Reason.RUN_NOT_FOUND, "There is no run run-1.")
    assert str(error) == "There is no run run-1."
    assert error.code == "NOT_FOUND"
    assert error.fix == TABLE[Reason.RUN_NOT_FOUND].fix
    assert not error.retryable
    assert error.metadata == {}
    assert repr(error) == "InterlockError(RUN_NOT_FOUND, 'There is no run run-1.')"


def test_error_keeps_what_it_says() -> None:
    given = {"state": "RUNNING"}
    error = InterlockError(Reason.RUN_WRONG_STATE, "No.", field="run_id", fix="Wait.", metadata=given)
    given["state"] = "changed later"
    assert (error.field, error.fix, error.metadata) == ("run_id", "Wait.", {"state": "RUNNING"})


def test_unknown_reason_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="NO_SUCH"):
        InterlockError("NO_SUCH", "x")  # type: ignore[arg-type]
