"""When and how long calls are tried again.

Safe because every mutation carries a `request_id` that stays the same: a call that arrived twice acts once.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from interlock.common.errors import InterlockError, Reason

_AGAIN = frozenset({Reason.UNAVAILABLE, Reason.DATABASE_UNAVAILABLE, Reason.LEASE_LOST})


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential back-off with jitter: `attempts` tries in all, waits from `first` to `longest` seconds."""

    attempts: int = 6
    first: float = 0.1
    longest: float = 2.0

    def delays(self) -> Iterator[float]:
        """Seconds to wait before the second, third … try. Each is between half and the whole of its step."""
        step = self.first
        for _ in range(self.attempts - 1):
            yield step * (0.5 + random.random() / 2)  # noqa: S311 (spreads load, guards nothing)
            step = min(step * 2, self.longest)


def may_repeat(error: InterlockError) -> bool:
    """Whether the same request can be sent again right away: the service was not reached or is moving."""
    return error.reason in _AGAIN
