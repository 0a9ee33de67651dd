"""Time as a dependency: services get a `Clock`, tests move it by hand. Order never comes from it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_RFC3339 = "%Y-%m-%dT%H:%M:%S.%fZ"


class Clock(Protocol):
    """What the rest of the code may know about time."""

    def now(self) -> datetime:
        """The current wall-clock time, timezone-aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin; never goes backwards."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The system's UTC time."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC, in seconds."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until `advance` is called."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = (start or datetime(2026, 1, 1, tzinfo=UTC)).astimezone(UTC)
        self._monotonic = 0.0

    def now(self) -> datetime:
        """The time it was set to."""
        return self._now

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both readings forward. Refuses negative values; `set_now` sets the wall clock back."""
        if seconds < 0:
            raise ValueError("a monotonic clock cannot go back")
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def set_now(self, now: datetime) -> None:
        """Set the wall clock only, in either direction, as an administrator or NTP would."""
        self._now = now.astimezone(UTC)


def rfc3339(moment: datetime) -> str:
    """`2026-11-22T12:00:00.000000Z`: how journal events write times. Needs an aware datetime."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone has no RFC 3339 form")
    # isoformat, because strftime does not pad years below 1000 on Linux.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_rfc3339(text: str) -> datetime:
    """The inverse of `rfc3339`. Accepts exactly that form. Raises ValueError."""
    moment = datetime.strptime(text, _RFC3339).replace(tzinfo=UTC)
    if rfc3339(moment) != text:
        raise ValueError("not an RFC 3339 UTC time with microseconds")
    return moment
