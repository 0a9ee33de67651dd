from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc.aio import AioRpcError, Metadata
from hypothesis import given
from hypothesis import strategies as st

from interlock.common.errors import InterlockError, Reason, Violation
from interlock.common.status import (
    DETAILS_KEY,
    MAX_STATUS_BYTES,
    error_from_rpc,
    from_status,
    to_status,
    trailing_metadata,
)

_TEXT = st.text(st.characters(), max_size=2000)


def back(error: InterlockError) -> InterlockError:
    result = from_status(status_pb2.Status.FromString(to_status(error).SerializeToString()))
    assert result is not None
    return result


def rpc_error(code: grpc.StatusCode, details: str = "", raw: bytes | None = None) -> AioRpcError:
    metadata = Metadata((DETAILS_KEY, raw)) if raw is not None else Metadata()
    return AioRpcError(code, Metadata(), metadata, details=details)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_survives_the_wire(reason: Reason) -> None:
    error = back(InterlockError(reason, "Why.", fix="Do this.", metadata={"state": "RUNNING"}))
    assert (error.reason, str(error), error.fix) == (reason, "Why.", "Do this.")
    assert error.metadata["state"] == "RUNNING"
    assert (error.retry_after is not None) == error.retryable


def test_field_and_retry_delay_survive() -> None:
    error = back(InterlockError(Reason.UNAVAILABLE, "Later.", field="run_id", retry_after=2.25))
    assert error.field == "run_id"
    assert error.violations == ()
    assert error.retry_after == 2.25


def test_violations_survive() -> None:
    violations = (Violation("goal", "too long"), Violation("steps[0].argv", "empty"))
    assert (
        back(InterlockError(Reason.VALIDATION_FAILED, "No.", violations=violations)).violations == violations
    )


def test_single_violation_stays_a_violation() -> None:
    one = (Violation("goal", "too long"),)
    assert back(InterlockError(Reason.VALIDATION_FAILED, "No.", violations=one)).violations == one


def test_request_id_travels_in_error_info() -> None:
    status = to_status(InterlockError(Reason.INTERNAL, "x"), request_id="req-1")
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain, info.metadata["request_id"]) == ("INTERNAL", "interlock.v1", "req-1")


def test_many_violations_are_cut_and_counted() -> None:
    violations = [Violation(f"steps[{n}].command", "must not be empty") for n in range(500)]
    found = back(InterlockError(Reason.VALIDATION_FAILED, "No.", violations=violations)).violations
    assert found[:32] == tuple(violations[:32])
    assert found[32:] == (Violation("", "and 468 more, not listed"),)


@given(
    _TEXT, _TEXT, st.dictionaries(_TEXT, _TEXT, max_size=40), st.lists(st.tuples(_TEXT, _TEXT), max_size=60)
)
def test_any_error_fits_and_arrives(
    message: str, fix: str, metadata: dict[str, str], violations: list[tuple[str, str]]
) -> None:
    error = InterlockError(
        Reason.VALIDATION_FAILED,
        message,
        fix=fix,
        metadata=metadata,
        violations=[Violation(*violation) for violation in violations],
    )
    status = to_status(error, request_id="r" * 128)
    assert status.ByteSize() <= MAX_STATUS_BYTES + 1024
    assert from_status(status_pb2.Status.FromString(status.SerializeToString())) is not None


def test_foreign_domain_is_not_ours() -> None:
    status = status_pb2.Status(code=5, message="x")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="RUN_NOT_FOUND", domain="example.org"))
    assert from_status(status) is None
    assert from_status(status_pb2.Status(code=5)) is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [(grpc.StatusCode.UNAVAILABLE, Reason.UNAVAILABLE), (grpc.StatusCode.NOT_FOUND, Reason.INTERNAL)],
)
def test_reason_of_a_newer_server_is_taken_from_its_code(code: grpc.StatusCode, reason: Reason) -> None:
    status = status_pb2.Status(code=code.value[0], message="New.")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="FROM_THE_FUTURE", domain="interlock.v1"))
    error = from_status(status)
    assert error is not None
    assert error.reason is reason


class TestFromRpc:
    def test_typed(self) -> None:
        status = to_status(InterlockError(Reason.RUN_NOT_FOUND, "Gone."))
        ((_, raw),) = trailing_metadata(status)
        error = error_from_rpc(rpc_error(grpc.StatusCode.NOT_FOUND, "Gone.", raw))
        assert error.reason is Reason.RUN_NOT_FOUND

    @pytest.mark.parametrize("raw", [b"", b"\xff\xff\xff", b"garbage"])
    def test_unreadable_details_fall_back_to_the_code(self, raw: bytes) -> None:
        error = error_from_rpc(rpc_error(grpc.StatusCode.UNAVAILABLE, "x", raw), "planner")
        assert error.reason is Reason.UNAVAILABLE
        assert "planner" in str(error)

    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            (grpc.StatusCode.UNAVAILABLE, Reason.UNAVAILABLE),
            (grpc.StatusCode.DEADLINE_EXCEEDED, Reason.DEADLINE_EXCEEDED),
            (grpc.StatusCode.UNAUTHENTICATED, Reason.UNAUTHENTICATED),
            (grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.RESOURCE_EXHAUSTED),
            (grpc.StatusCode.CANCELLED, Reason.UNAVAILABLE),
            (grpc.StatusCode.UNIMPLEMENTED, Reason.INTERNAL),
            (grpc.StatusCode.UNKNOWN, Reason.INTERNAL),
        ],
    )
    def test_untyped(self, code: grpc.StatusCode, reason: Reason) -> None:
        error = error_from_rpc(rpc_error(code, "ipv4:10.1.2.3:99 transport text"), "executor")
        assert error.reason is reason
        assert "executor" in str(error)
        assert "10.1.2.3" not in str(error)
        assert error.metadata["grpc_code"] == code.name

    def test_transport_size_limit(self) -> None:
        text = "SERVER: Received message larger than max (9 vs. 8)"
        error = error_from_rpc(rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, text))
        assert error.reason is Reason.MESSAGE_TOO_LARGE
