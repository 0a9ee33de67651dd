"""How a followed run is shown."""

from __future__ import annotations

import sys
from typing import Protocol, TextIO

from interlock.cli.follow.view import Changed, RunView
from interlock.cli.safe import escape
from interlock.cli.show.steps import outcome, state_text, title
from interlock.cli.text import cost_text, counted
from interlock.v1.step_pb2 import StepState

_QUIET = frozenset({StepState.STEP_STATE_PENDING, StepState.STEP_STATE_APPROVED})


class Reporter(Protocol):
    """Gets every change; writes to standard error."""

    def begin(self, view: RunView) -> None:
        """The run is about to be followed."""
        ...

    def changed(self, view: RunView, changed: Changed) -> None:
        """A message was applied."""
        ...

    def note(self, text: str) -> None:
        """Something to say between the changes; may be several lines, already safe to show."""
        ...

    def pause(self) -> None:
        """Someone is about to be asked: leave the terminal alone."""
        ...

    def resume(self) -> None:
        """The question is answered."""
        ...

    def end(self, view: RunView) -> None:
        """Nothing more will come."""
        ...


class PlainReporter:
    """One line per change, for logs and pipes."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def begin(self, view: RunView) -> None:
        self.note(escape(f"{view.run.run_id}: {counted(len(view.steps), 'step')}"))

    def changed(self, view: RunView, changed: Changed) -> None:
        for line in changed.lines:
            self.note(f"    {view.mark} {line}")
        if changed.step is not None and changed.state is not None and changed.state not in _QUIET:
            for line in view.flush():
                self.note(f"    {view.mark} {line}")
            step = changed.step
            said = outcome(step)
            total = max(view.run.steps_total, len(view.steps))
            self.note(
                escape(f"[{step.number}/{total}] {state_text(step)} {title(step.spec)}")
                + (escape(f" ({said})") if said else "")
            )

    def note(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def pause(self) -> None:
        """Nothing is drawn."""

    def resume(self) -> None:
        """Nothing is drawn."""

    def end(self, view: RunView) -> None:
        for line in view.flush():
            self.note(f"    {view.mark} {line}")
        self.note(escape(summary(view)))


def summary(view: RunView) -> str:
    """`run-… COMPLETED: 5 of 5 steps, 12s, no model calls`."""
    from interlock.cli.show.runs import lasted, run_state

    run = view.run
    done = f"{run.steps_done} of {run.steps_total} steps"
    return f"{run.run_id} {run_state(run)}: {done}, {lasted(run, view.ordered())}, {cost_text(run.cost)}"
