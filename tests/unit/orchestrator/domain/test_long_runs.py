"""Long runs by chance, and the seeds that once broke a law. What happens in them: tests/support/run_machine.py."""

from __future__ import annotations

import random

import pytest
from tests.support.run_chance import long_run

FOUND = {
    631550967675: "a cancelled run that was reopened passed over the step that had failed in it",
    970439796727: "a step edited during a revert asked a model after it, though a late reply had used the budget up",
    378769558881: "people who bring a run to its end did not know that a step which failed then is decided first",
}
"""Seeds that once led to a broken law, or to people who did not know what to do, and to which."""


@pytest.mark.parametrize("seed", FOUND)
def test_long_runs_that_once_broke_a_law(seed: int) -> None:
    long_run(seed, 300)


@pytest.mark.parametrize("block", range(8))
def test_long_runs_by_chance(block: int) -> None:
    for seed in range(block * 25, block * 25 + 25):
        long_run(seed, 150)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("block", range(40))
def test_very_many_long_runs_by_chance(block: int) -> None:
    """In blocks, so that what was run says something when the rest was not."""
    start = random.SystemRandom().randrange(2**40)
    for seed in range(start, start + 500):
        try:
            long_run(seed, 300)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
