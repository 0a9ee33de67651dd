"""Runs by chance with people around them: delegations, rules, envelopes, kept decisions. See support/run_crowd.py."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import settings
from tests.support.run_crowd import CrowdMachine, crowded_run

CrowdMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=40)
TestCrowdMachine = CrowdMachine.TestCase

FEATURES = {
    "step.ruled",
    "envelope.granted",
    "envelope.tried",
    "envelope.used",
    "envelope.revoked",
    "envelope.exhausted",
    "approval.kept",
    "approval.withdrawn",
    "approval.voted",
    "approval.decided",
    "run.agent_named",
}


def test_crowded_runs_by_chance() -> None:
    seen: Counter[str] = Counter()
    for seed in (1000097, *range(45)):  # the first found a defect
        seen.update(crowded_run(seed, 120).run.types())
    assert set(seen) >= FEATURES, f"never happened: {FEATURES - set(seen)}"


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_very_many_crowded_runs_by_chance() -> None:
    start = random.SystemRandom().randrange(2**40)
    for seed in range(start, start + 10_000):
        try:
            crowded_run(seed, 300)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
