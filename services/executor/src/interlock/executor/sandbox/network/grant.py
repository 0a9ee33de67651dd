"""A step's leave to use the network, and what it did with it."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field

from interlock.executor.sandbox.network.rules import MAX_ATTEMPTS_KEPT, Attempt, Rules


@dataclass(slots=True)
class NetworkRecord:
    """What a step did with its network. Totals count every attempt, `attempts` holds the first ones that ended,
    in the order in which they began.

    `problem`: why the record may lack something; empty when it is whole.
    """

    attempts: list[Attempt] = field(default_factory=list)
    total: int = 0
    refused: int = 0
    sent: int = 0
    received: int = 0
    problem: str = ""

    def add(self, attempt: Attempt) -> None:
        """One more; its texts are clean."""
        self.total += 1
        self.refused += not attempt.allowed
        self.sent += attempt.sent
        self.received += attempt.received
        if len(self.attempts) < MAX_ATTEMPTS_KEPT:
            insort(self.attempts, attempt, key=lambda each: each.at_us)


class Grant:
    """A step's leave to use the network. `used` is set when the command may run: from then on it may have acted.

    `clean` goes over the texts that the step chose, before they are logged or recorded.
    """

    def __init__(self, rules: Rules, clean: Callable[[str], str] = str) -> None:
        self.rules, self.clean, self.used = rules, clean, False
