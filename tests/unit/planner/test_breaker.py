from __future__ import annotations

from interlock.planner.domain.breaker import Breaker, begun, failed, given_up, refused_for, succeeded


def broken(failures: int = 3) -> Breaker:
    breaker = Breaker(most_failures=3, open_s=10)
    for at in range(failures):
        breaker = failed(breaker, float(at))
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    assert refused_for(broken(2), 2) is None
    assert refused_for(failed(succeeded(broken(2)), 3), 3) is None
    assert refused_for(broken(3), 2) == 10
    assert refused_for(broken(3), 7.5) == 4.5


def test_after_its_time_one_call_tries_and_the_others_wait() -> None:
    breaker = broken()
    assert refused_for(breaker, 12) is None
    trying = begun(breaker, 12)
    assert refused_for(trying, 12) == 10
    assert refused_for(succeeded(trying), 12) is None
    assert succeeded(trying).failures == 0


def test_a_failed_try_opens_it_again_at_once() -> None:
    again = failed(begun(broken(), 12), 13)
    assert refused_for(again, 13) == 10
    assert refused_for(again, 23) is None


def test_a_try_whose_caller_went_away_lets_the_next_one_try() -> None:
    assert refused_for(given_up(begun(broken(), 12)), 13) is None


def test_a_call_that_goes_through_a_closed_one_changes_nothing() -> None:
    assert begun(Breaker(), 5) == Breaker()
