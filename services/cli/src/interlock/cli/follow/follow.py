"""Follows a run to its end, or to where nobody here can take it further."""

from __future__ import annotations

from interlock.cli.follow.decide import Gatekeeper
from interlock.cli.follow.questions import Questions
from interlock.cli.follow.reporter import Reporter
from interlock.cli.follow.view import RunView
from interlock.cli.safe import escape
from interlock.client import Client
from interlock.v1.run_pb2 import Run, RunState
from interlock.v1.step_pb2 import StepState

_HELD = {
    "budget_reached": "its budget is reached; raise it or cancel the run",
    "step_limit": "it has as many steps as it may; add steps, or cancel it",
    "planning_failed": "there is no plan; resume it to ask the model again",
    "outcome_unknown": "a step may or may not have acted outside the workspace: retry or skip it",
}


async def follow(client: Client, run: Run, gatekeeper: Gatekeeper | None, reporter: Reporter) -> Run:
    """Show a run's progress and deal with its gates. Returns the run, with its steps, where it stopped.

    It stops when the run has ended, when it is paused, and when the gatekeeper leaves an approval open. Without a
    gatekeeper approvals are somebody else's business.
    """
    view = RunView(run)
    questions = Questions(run, hint=gatekeeper is None)
    reporter.begin(view)
    try:
        async for message in client.watch_run(run.run_id):
            changed = view.apply(message)
            reporter.changed(view, changed)
            if line := questions.line(message):
                reporter.note(line)
            if gatekeeper is None:
                continue
            step = changed.step
            asks = step is not None and step.state == StepState.STEP_STATE_AWAITING_APPROVAL
            if step is not None and asks and not await gatekeeper.handle(step.approval_id):
                break
            if changed.run_state == RunState.RUN_STATE_PAUSED and await _is_held(client, view, reporter):
                break
        view.run = await client.get_run(run.run_id)
        view.replace_steps(list(view.run.steps))
    finally:
        reporter.end(view)
    return view.run


async def _is_held(client: Client, view: RunView, reporter: Reporter) -> bool:
    """Whether the run is paused now, and not only was when the event was written."""
    now = await client.get_run(view.run.run_id, without_steps=True)
    if now.state != RunState.RUN_STATE_PAUSED:
        return False
    why = _HELD.get(now.pause_reason, "resume it to go on")
    reporter.note(escape(f"Paused: {why}. `interlock run resume {now.run_id}`"))
    return True
