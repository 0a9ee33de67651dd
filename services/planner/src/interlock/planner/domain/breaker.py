"""A circuit breaker: after some failures in a row, calls are refused for a time; then one tries whether it works again.

Pure: every function takes the state and the time (seconds of a monotonic clock) and returns the next state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Breaker:
    """``failures`` in a row; ``open_until`` while calls are refused; ``probing`` while one tries whether it works."""

    most_failures: int = 5
    open_s: float = 30.0
    failures: int = 0
    open_until: float | None = None
    probing: bool = False


def refused_for(breaker: Breaker, now: float) -> float | None:
    """Seconds until a call may go through; None when one may now. While one tries, the others wait a whole period."""
    if breaker.open_until is None:
        return None
    if now < breaker.open_until:
        return breaker.open_until - now
    return breaker.open_s if breaker.probing else None


def begun(breaker: Breaker, now: float) -> Breaker:
    """A call goes through; the first one after the time of refusal is the one that tries."""
    if breaker.open_until is None or now < breaker.open_until:
        return breaker
    return replace(breaker, probing=True)


def succeeded(breaker: Breaker) -> Breaker:
    """The server answered, whatever it said: it works."""
    return Breaker(breaker.most_failures, breaker.open_s)


def failed(breaker: Breaker, now: float) -> Breaker:
    """The server did not answer. A failed try opens the breaker again."""
    failures = breaker.failures + 1
    if failures < breaker.most_failures and not breaker.probing:
        return replace(breaker, failures=failures)
    return replace(breaker, failures=failures, open_until=now + breaker.open_s, probing=False)


def given_up(breaker: Breaker) -> Breaker:
    """A call that ended without telling anything, because the caller went away: the next one may try."""
    return replace(breaker, probing=False)
