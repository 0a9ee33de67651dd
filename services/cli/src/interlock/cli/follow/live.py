"""The live view: steps with their states, output of the current one, cost and time, drawn in place by Rich."""

from __future__ import annotations

import time

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from interlock.cli.follow.reporter import summary
from interlock.cli.follow.view import ACTIVE, Changed, RunView
from interlock.cli.safe import escape
from interlock.cli.show.runs import run_state
from interlock.cli.show.steps import outcome, state_text, title, took
from interlock.cli.text import cost_text, seconds_text
from interlock.v1.step_pb2 import Step, StepState

_SHOWN_STEPS = 12
_SHOWN_OUTPUT = 10
_MARKS = {
    StepState.STEP_STATE_SUCCEEDED: ("✓", "green"),
    StepState.STEP_STATE_FAILED: ("✗", "red"),
    StepState.STEP_STATE_REJECTED: ("✗", "red"),
    StepState.STEP_STATE_OUTCOME_UNKNOWN: ("?", "red"),
    StepState.STEP_STATE_SKIPPED: ("-", "dim"),
    StepState.STEP_STATE_CANCELLED: ("-", "dim"),
    StepState.STEP_STATE_AWAITING_APPROVAL: ("!", "yellow"),
    StepState.STEP_STATE_PENDING: ("·", "dim"),
}


class LiveReporter:
    """Redraws a few times a second; what is noted scrolls away above."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._view: RunView | None = None
        self._spinner = Spinner("dots")
        self._started = time.monotonic()
        self._live = self._fresh()

    def begin(self, view: RunView) -> None:
        self._view = view
        self._live.start()

    def changed(self, view: RunView, changed: Changed) -> None:
        self._view = view

    def note(self, text: str) -> None:
        self._console.print(Text.from_ansi(text))

    def pause(self) -> None:
        self._live.stop()

    def resume(self) -> None:
        self._live = self._fresh()
        self._live.start()

    def end(self, view: RunView) -> None:
        self._live.stop()
        self._console.print(_steps(view.ordered(), None, self._console.width))
        self._console.print(Text(escape(summary(view))))

    def _fresh(self) -> Live:
        """A new one for each time of drawing: one that is started again draws over what was written meanwhile."""
        return Live(console=self._console, get_renderable=self._render, refresh_per_second=8, transient=True)

    def _render(self) -> RenderableType:
        view = self._view
        if view is None:
            return Text("")
        elapsed = seconds_text(time.monotonic() - self._started)
        head = Text(
            escape(f"{view.run.run_id}  {run_state(view.run)}  {elapsed}  {cost_text(view.cost)}"), "bold"
        )
        parts: list[RenderableType] = [head, _steps(_window(view), self._spinner, self._console.width)]
        room = max(self._console.width - 4, 20)
        tail = [*view.tail, *view.begun][-_SHOWN_OUTPUT:]
        mark = view.mark.replace("|", "│")
        parts += [Text(f"  {mark} {line[:room]}", "dim", no_wrap=True, overflow="ellipsis") for line in tail]
        return Group(*parts)


def _window(view: RunView) -> list[Step]:
    """At most _SHOWN_STEPS steps, around the current one."""
    steps = view.ordered()
    if len(steps) <= _SHOWN_STEPS:
        return steps
    index = next((i for i, step in enumerate(steps) if step.number >= view.current), 0)
    first = min(max(0, index - _SHOWN_STEPS // 3), len(steps) - _SHOWN_STEPS)
    return steps[first : first + _SHOWN_STEPS]


def _steps(steps: list[Step], spinner: Spinner | None, room: int) -> Table:
    """Mark, number, state and time are always whole; what a step is and what came of it share the rest."""
    rows = [
        (str(step.number), escape(title(step.spec)), state_text(step), took(step), escape(outcome(step)))
        for step in steps
    ]
    table = Table(box=None, show_header=False, padding=(0, 1), expand=False)
    table.add_column(width=1)
    for width in _widths(rows, room):
        table.add_column(width=width, no_wrap=True, overflow="ellipsis")
    for step, (number, what, state, time_taken, said) in zip(steps, rows, strict=True):
        mark, style = _MARKS.get(step.state, ("▸", "cyan"))
        busy = spinner is not None and step.state in ACTIVE - {StepState.STEP_STATE_AWAITING_APPROVAL}
        table.add_row(
            spinner if busy and spinner is not None else Text(mark, style),
            Text(number, "dim", justify="right"),
            Text(what),
            Text(state, style),
            Text(time_taken, "dim"),
            Text(said, "dim"),
        )
    return table


def _widths(rows: list[tuple[str, str, str, str, str]], room: int) -> list[int]:
    """Columns of the terminal for each cell but the mark, each cell having one of padding on both sides."""
    wanted = [max((cell_len(cell) for cell in column), default=0) for column in zip(*rows, strict=True)]
    if not wanted:
        return []
    number, what, state, time_taken, said = wanted
    left = max(room - 1 - number - state - time_taken - 2 * 6, 2)
    what = min(what, max(left - said, left // 2, 1))
    return [number, what, state, time_taken, min(said, max(left - what, 1))]
