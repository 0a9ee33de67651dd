"""Plans as tables, as files, and how a new one differs from the old."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Sequence

from interlock.cli.output import message_dict, use_colour, write_json, write_table
from interlock.cli.safe import escape
from interlock.cli.settings import Output, Settings
from interlock.cli.show.runs import show_run
from interlock.cli.show.steps import title
from interlock.cli.text import enum_text
from interlock.client import plan_from_specs
from interlock.common.plan import dump_yaml
from interlock.v1.policy_pb2 import Gate
from interlock.v1.run_pb2 import Run
from interlock.v1.step_pb2 import Step, StepSpec, StepState

_ADDED, _REMOVED, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[0m"


def plan_table(specs: Sequence[StepSpec]) -> None:
    """The steps of a plan that is not a run yet."""
    rows = [(str(number), title(spec), _gate(spec)) for number, spec in enumerate(specs, 1)]
    write_table(("STEP", "WHAT", "GATE"), rows)


def show_replanned(settings: Settings, before: Run, after: Run) -> None:
    """What a re-plan has changed: how the steps to come differ; those that ended stay. Then the run."""
    old, new = pending(before.steps), pending(after.steps)
    if settings.output is not Output.TABLE:
        answer = {
            "run": message_dict(after),
            "removed": [message_dict(each) for each in old],
            "added": [message_dict(each) for each in new],
            "diff": plan_diff(before.goal, old, new),
        }
        write_json(answer, settings.output)
        return
    ended = len(after.steps) - len(old) - len(new)
    print(f"Steps that ended: {ended}, as they are. Steps to come: {len(old)}, replaced by {len(new)}:")
    colour = use_colour(sys.stdout)
    for line in plan_diff(before.goal, old, new):
        mark = _ADDED if line.startswith("+") else _REMOVED if line.startswith("-") else ""
        print(f"{mark}{escape(line)}{_PLAIN}" if colour and mark else escape(line))
    print()
    show_run(settings, after)


def pending(steps: Iterable[Step]) -> list[StepSpec]:
    """What of a run's steps is still to come."""
    return [step.spec for step in steps if step.state == StepState.STEP_STATE_PENDING]


def plan_diff(goal: str, before: Sequence[StepSpec], after: Sequence[StepSpec]) -> list[str]:
    """How two plans differ, as lines of the plan file; every line of both is there, marked or not."""
    old, new = _lines(goal, before), _lines(goal, after)
    whole = max(len(old), len(new), 1)
    return list(difflib.unified_diff(old, new, lineterm="", n=whole))[3:] if old != new else old


def _lines(goal: str, specs: Sequence[StepSpec]) -> list[str]:
    if not specs:
        return []
    lines = dump_yaml(plan_from_specs(goal, specs)).splitlines()
    return lines[lines.index("steps:") + 1 :]


def _gate(spec: StepSpec) -> str:
    return enum_text(Gate, spec.gate).lower() if spec.gate else "as the policy says"
