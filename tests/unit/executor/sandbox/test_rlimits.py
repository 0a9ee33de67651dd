"""Limits of single processes."""

from __future__ import annotations

import dataclasses
import resource

import pytest

from interlock.executor.sandbox.base import DEFAULT_LIMITS
from interlock.executor.sandbox.limits import rlimits


@pytest.mark.parametrize("cpu_us", [1, 999_999, 1_000_000, 1_000_001, 3_000_000, 1_200_000_000])
def test_the_kernel_ends_a_process_only_above_what_is_allowed(cpu_us: int) -> None:
    """Its account and the one at the step's end differ by ticks: ended at the limit, a step could seem to be below."""
    limits = dataclasses.replace(DEFAULT_LIMITS, cpu_us=cpu_us)
    seconds = rlimits(limits, counted=False)[resource.RLIMIT_CPU]
    assert cpu_us + 1_000_000 <= seconds * 1_000_000 < cpu_us + 2_000_000
