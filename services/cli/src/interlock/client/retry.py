"""When and how long calls are tried again.

Safe because every mutation carries a `request_id` that stays the same: a call that arrived twice acts once. Long
enough to outlast a service that `interlock up` starts again after a crash: its longest pause is 10 s.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from google.protobuf.message import Message

from interlock.common.clock import Clock, SystemClock
from interlock.common.errors import InterlockError, Reason

_AGAIN = frozenset({Reason.UNAVAILABLE, Reason.DATABASE_UNAVAILABLE, Reason.LEASE_LOST})
_TOLD_AFTER = 1.0

Tell = Callable[[InterlockError, float], None]


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential back-off with jitter, until a time after the first failure has passed.

    Args:
        seconds: how long a service is waited for that is known to be there: it has answered this client before,
            or an `interlock up` is alive on the data directory and starts it again.
        unseen: how long otherwise. Nothing may ever come.
        attempts: most tries in all.
        first, longest: waits between two tries, in seconds.
        tell: called once per call that waits for more than a second, with why and the seconds it will go on.
    """

    seconds: float = 30.0
    unseen: float = 30.0
    attempts: int = 1000
    first: float = 0.1
    longest: float = 2.0
    tell: Tell | None = None
    clock: Clock = field(default_factory=SystemClock)

    def delays(self, is_there: Callable[[], bool] = lambda: True) -> Delays:
        """The waits of one call; `is_there` says whether its service is known to be there."""
        return Delays(self, is_there)


class Delays:
    """The waits of one call that fails again and again."""

    def __init__(self, retry: Retry, is_there: Callable[[], bool]) -> None:
        self._retry = retry
        self._is_there = is_there
        self._step = retry.first
        self._failures = 0
        self._since = 0.0
        self._told = False

    def after(self, error: InterlockError) -> float | None:
        """Seconds to wait before the next try, between half and the whole of its step; None to give up."""
        retry, now = self._retry, self._retry.clock.monotonic()
        self._failures += 1
        if self._failures == 1:
            self._since = now
        limit = retry.seconds if self._is_there() else retry.unseen
        delay = self._step * (0.5 + random.random() / 2)  # noqa: S311 (spreads load, guards nothing)
        left = self._since + limit - now
        if self._failures >= retry.attempts or delay > left:
            return None
        if retry.tell is not None and not self._told and now - self._since >= _TOLD_AFTER:
            self._told = True
            retry.tell(error, left)
        self._step = min(self._step * 2, retry.longest)
        return delay


def may_repeat(error: InterlockError) -> bool:
    """Whether the same request can be sent again right away: the service was not reached or is moving."""
    return error.reason in _AGAIN


def is_repeatable(request: Message) -> bool:
    """Whether the request acts once however often it arrives: it reads, or it has its `request_id`."""
    return "request_id" not in request.DESCRIPTOR.fields_by_name or bool(getattr(request, "request_id", ""))
