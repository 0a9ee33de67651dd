"""A run carried out again."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

from interlock.cli.errors import FAILED, OK
from interlock.cli.output import message_dict, write_json
from interlock.cli.safe import escape
from interlock.cli.settings import Output, Settings
from interlock.cli.show.diff import print_diff
from interlock.cli.text import counted, enum_text
from interlock.v1.replay_pb2 import ReplayOutcome, StepReplay

_WORDS = {
    ReplayOutcome.REPLAY_OUTCOME_SAME: "same",
    ReplayOutcome.REPLAY_OUTCOME_DIFFERENT: "DIFFERENT",
    ReplayOutcome.REPLAY_OUTCOME_RECORDED: "as recorded",
    ReplayOutcome.REPLAY_OUTCOME_NOTHING: "did not run",
    ReplayOutcome.REPLAY_OUTCOME_INHERITED: "inherited",
    ReplayOutcome.REPLAY_OUTCOME_IMPOSSIBLE: "IMPOSSIBLE",
}
_BAD = frozenset({ReplayOutcome.REPLAY_OUTCOME_DIFFERENT, ReplayOutcome.REPLAY_OUTCOME_IMPOSSIBLE})


async def show_replay(settings: Settings, run_id: str, steps: AsyncIterator[StepReplay]) -> int:
    """Each step as it comes, and what it came to; returns the exit code."""
    told = []
    async for step in steps:
        told.append(step)
        if settings.output is Output.TABLE:
            _people(step)
    bad = [step for step in told if step.outcome in _BAD]
    first = bad[0].step if bad else 0
    if settings.output is not Output.TABLE:
        said = {"runId": run_id, "same": not bad, "firstDifference": first}
        write_json({**said, "steps": [message_dict(step) for step in told]}, settings.output)
    elif bad:
        print(f"Step {first} is the first that is not as it was.")
    else:
        same = sum(step.outcome == ReplayOutcome.REPLAY_OUTCOME_SAME for step in told)
        print(f"Nothing differs: {counted(same, 'step')} carried out again, {len(told) - same} not.")
    return FAILED if bad else OK


def _people(step: StepReplay) -> None:
    word = _WORDS.get(step.outcome, enum_text(ReplayOutcome, step.outcome))
    print(escape(f"{step.step:>4}  {word:<12} {step.title}"), flush=True)
    for each in step.differences:
        print(escape(f"      {each.field}: {each.recorded or '-'} -> {each.replayed or '-'}"))
    if step.note:
        print(escape(f"      {step.note}"))
    if step.diff:
        print_diff(step.diff, sys.stdout)
