"""A run under everything that can happen to it, in any order; hypothesis shrinks what breaks a law."""

from __future__ import annotations

from hypothesis import settings
from tests.support.run_machine import RunMachine

RunMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=60)
TestRunMachine = RunMachine.TestCase
