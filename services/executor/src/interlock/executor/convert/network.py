"""To the wire: what a command did with its network."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from interlock.executor.convert.text import duration, wire
from interlock.executor.sandbox.network.grant import NetworkRecord
from interlock.executor.sandbox.network.rules import Attempt
from interlock.v1 import step_pb2


def network_report(record: NetworkRecord) -> step_pb2.NetworkReport:
    """The whole record."""
    return step_pb2.NetworkReport(
        attempts=[_attempt(each) for each in record.attempts],
        attempts_total=record.total,
        refused_total=record.refused,
        sent_bytes=record.sent,
        received_bytes=record.received,
        problem=record.problem,
    )


def _attempt(attempt: Attempt) -> step_pb2.NetworkAttempt:
    at = Timestamp()
    at.FromMicroseconds(attempt.at_us)
    return step_pb2.NetworkAttempt(
        host=wire(attempt.host),
        port=attempt.port,
        allowed=attempt.allowed,
        reason=attempt.reason,
        detail=wire(attempt.detail),
        address=attempt.address,
        sent_bytes=attempt.sent,
        received_bytes=attempt.received,
        at=at,
        took=duration(attempt.took_us),
    )
