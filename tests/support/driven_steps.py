"""Runs of one command, and what became of it."""

from __future__ import annotations

from typing import Any

from tests.support.driven_run import DrivenRun, spec

from interlock.orchestrator.domain.model import (
    Gate,
    Policy,
)

FREE = Policy(edit_file_gate=Gate.NONE, run_command_gate=Gate.NONE)
LOOSE = Policy(steps_may_weaken=True)


def one(gate: str | None = None, policy: Policy = LOOSE, **fields: Any) -> DrivenRun:
    """A started run of one command."""
    return DrivenRun([spec("run_command", gate, **fields)], policy=policy, start=True)


def networked(gate: str) -> DrivenRun:
    return DrivenRun([spec("run_command", gate, command="x", network=["h:1"])], policy=LOOSE, start=True)


def life(driven: DrivenRun) -> list[str]:
    """What happened to the step, and to its approvals."""
    return [t.removeprefix("step.") for t in driven.types() if t.startswith(("step.", "approval."))]
