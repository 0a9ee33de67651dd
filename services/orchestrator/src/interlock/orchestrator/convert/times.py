"""Points in time of requests."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from interlock.common.errors import InterlockError, Reason


def moment(message: Message, field: str) -> datetime | None:
    """A Timestamp field as UTC; None where it is absent.

    Raises INVALID_ARGUMENT for what protobuf's Timestamp does not allow: seconds outside the years 1 to 9999, or
    nanoseconds outside 0 to 999,999,999.
    """
    if not message.HasField(field):
        return None
    given: Timestamp = getattr(message, field)
    try:
        return given.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"{given.seconds} seconds and {given.nanos} nanoseconds since 1970 are no point in time.",
            field=field,
            fix="Send a time of the years 1 to 9999, with nanos from 0 to 999,999,999.",
        ) from None
