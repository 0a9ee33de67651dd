"""Runs and their cost."""

from __future__ import annotations

from collections.abc import Iterable

from interlock.cli.errors import FAILED, OK, REJECTED, WAITING
from interlock.cli.output import progress, show_list, show_one, write_fields, write_table
from interlock.cli.safe import escape
from interlock.cli.settings import Settings
from interlock.cli.show.envelopes import envelope_line
from interlock.cli.show.steps import asks, failure_lines, kind_text, steps_table, waited
from interlock.cli.text import (
    cost_text,
    counted,
    enum_text,
    first_line,
    labels_text,
    seconds_text,
    short_digest,
    time_text,
)
from interlock.v1.orchestrator_pb2 import GetCostResponse
from interlock.v1.run_pb2 import Run, RunState
from interlock.v1.step_pb2 import Step, StepState

REJECTED_REASON = "STEP_REJECTED"


def run_state(run: Run) -> str:
    """`RUNNING`-like name of the run's state."""
    return enum_text(RunState, run.state)


def run_exit_code(run: Run) -> int:
    """The exit code of a run that is followed: 0, 1, 3 while it needs a person, 4 after a rejection."""
    if run.state == RunState.RUN_STATE_COMPLETED:
        return OK
    if run.state in (RunState.RUN_STATE_AWAITING_APPROVAL, RunState.RUN_STATE_PAUSED):
        return WAITING
    if run.state == RunState.RUN_STATE_FAILED:
        rejected = any(step.state == StepState.STEP_STATE_REJECTED for step in run.steps)
        reasoned = run.failure.reason == REJECTED_REASON
        return REJECTED if reasoned or (rejected and not run.failure.reason) else FAILED
    return FAILED


def list_runs(settings: Settings, runs: Iterable[Run]) -> None:
    """Runs, newest first."""
    show_list(
        settings,
        "runs",
        runs,
        ("RUN", "STATE", "STEPS", "CREATED", "GOAL"),
        lambda r: (
            r.run_id,
            _state(r),
            f"{r.steps_done}/{r.steps_total}",
            time_text(r.created_at),
            first_line(r.goal),
        ),
        empty="No runs.",
    )


def show_run(settings: Settings, run: Run) -> None:
    """One run, with its steps where it has them."""
    show_one(settings, run, lambda: _people(run))


def show_open_run(settings: Settings, run: Run) -> None:
    """A run that was given something to do; says how it goes on where it does not by itself."""
    show_run(settings, run)
    if run.state == RunState.RUN_STATE_PAUSED:
        progress(f"It is paused: `interlock run resume {run.run_id}` goes on.")


def show_cost(settings: Settings, cost: GetCostResponse) -> None:
    """What a run cost."""

    def people() -> None:
        write_fields([("total", cost_text(cost.total))])
        rows = [
            (str(s.step) if s.step else "plan", kind_text(s.kind) if s.step else "", cost_text(s.cost))
            for s in cost.steps
        ]
        if rows:
            write_table(("STEP", "KIND", "COST"), rows)
        models = [(m.purpose, m.gateway, m.model, cost_text(m.cost)) for m in cost.models]
        if models:
            write_table(("PURPOSE", "GATEWAY", "MODEL", "COST"), models)

    show_one(settings, cost, people)


def _state(run: Run) -> str:
    """The state, and whether it was set aside, and whether what the run did is still there."""
    if run.HasField("archived"):
        return f"{run_state(run)}, archived at {time_text(run.archived.at)}"
    if run.HasField("set_aside"):
        return f"{run_state(run)}, set aside"
    if not run.steps_undone:
        return run_state(run)
    return f"{run_state(run)}, {counted(run.steps_undone, 'step')} undone"


def _origin(run: Run) -> str:
    return f"{run.origin.run_id}, after its step {run.origin.at_step}" if run.origin.run_id else ""


def _waits_for(run: Run) -> str:
    """Who has the workspace that the run waits for, and who else comes before it."""
    if not run.HasField("waiting"):
        return ""
    ahead = f", and {run.waiting.ahead} before it" if run.waiting.ahead else ""
    return f"its workspace, which {run.waiting.holder_run_id or 'nobody'} has{ahead}"


def _bundle(run: Run) -> str:
    """Where the journal of an archived run went."""
    if not run.HasField("archived"):
        return ""
    return f"{run.archived.bundle_digest}, put at {run.archived.place or '?'} by {run.archived.by}"


def _aside(run: Run) -> str:
    """Why nobody drives it; `run explain` says what can be done."""
    held = run.set_aside
    if not run.HasField("set_aside"):
        return ""
    return f"{held.action} failed {held.tries} times: {held.failure.message} See `interlock run explain {run.run_id}`."


def lasted(run: Run, steps: Iterable[Step]) -> str:
    """From its beginning to its last event, and how much of that its steps waited: `3m 05s, 3m 01s of it waiting`."""
    seconds = (run.updated_at.ToNanoseconds() - run.created_at.ToNanoseconds()) / 1e9
    idle = waited(steps)
    return f"{seconds_text(seconds)}, {idle} of it waiting" if idle else seconds_text(seconds)


def _people(run: Run) -> None:
    write_fields(
        [
            ("run", run.run_id),
            ("goal", first_line(run.goal)),
            ("state", _state(run)),
            ("bundle", _bundle(run)),
            ("paused for", run.pause_reason),
            ("waits for", _waits_for(run)),
            ("set aside", _aside(run)),
            ("workspace", run.workspace_id),
            ("steps", f"{run.steps_done} of {run.steps_total} ended"),
            ("cost", cost_text(run.cost)),
            ("fork of", _origin(run)),
            ("base tree", short_digest(run.base_tree)),
            ("head tree", short_digest(run.head_tree)),
            ("labels", labels_text(run.labels.items())),
            ("of workspace", labels_text(run.workspace_labels.items())),
            ("agent of", f"{run.owner}: {run.created_by}" if run.owner else ""),
            ("created", time_text(run.created_at)),
            ("lasted", lasted(run, run.steps) if run.updated_at.seconds else ""),
            ("trace", run.trace_id),
        ]
    )
    for each in run.envelopes:
        print(escape(f"envelope {envelope_line(each)}"))
    if run.failure.reason:
        print("\n".join(failure_lines(run.failure)))
    if run.steps:
        print()
        write_table(*steps_table(run.steps))
    for line in filter(None, (asks(step) or _unknown(run, step) for step in run.steps)):
        print(escape(line))


def _unknown(run: Run, step: Step) -> str:
    """What can be done about a step of which nobody knows what it did; empty for others."""
    if step.state != StepState.STEP_STATE_OUTCOME_UNKNOWN:
        return ""
    hosts = ", ".join(step.spec.input.run_command.network)
    where = f" at {hosts}" if hosts else ""
    return (
        f"Find out what step {step.number} did{where}. Then `interlock step retry {run.run_id} {step.number}` runs it "
        f"again, and `interlock step skip {run.run_id} {step.number}` goes on without it."
    )
