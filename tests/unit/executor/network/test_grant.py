"""What a step did with its network, put together from attempts that end in any order."""

from __future__ import annotations

from interlock.executor.sandbox.network.grant import NetworkRecord
from interlock.executor.sandbox.network.rules import MAX_ATTEMPTS_KEPT, Attempt


def test_attempts_stand_in_the_order_in_which_they_began() -> None:
    record = NetworkRecord()
    for began in (2, 3, 1):
        record.add(Attempt(f"host-{began}", 443, allowed=began != 3, sent=1, at_us=began))
    assert [each.host for each in record.attempts] == ["host-1", "host-2", "host-3"]
    assert (record.total, record.refused, record.sent) == (3, 1, 3)


def test_the_first_that_ended_are_kept_and_all_are_counted() -> None:
    record = NetworkRecord()
    for number in range(MAX_ATTEMPTS_KEPT + 2):
        record.add(Attempt("host", 443, at_us=MAX_ATTEMPTS_KEPT - number))
    assert len(record.attempts) == MAX_ATTEMPTS_KEPT
    assert record.total == MAX_ATTEMPTS_KEPT + 2
    assert record.attempts[0].at_us == 1
