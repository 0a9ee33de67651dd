"""Commands about a run: each turns the state into events, or refuses with a typed error."""

from __future__ import annotations

from collections.abc import Sequence

from interlock.common.digests import SAFE_INTEGER
from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import aside, undo
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.advance import budget_left, lacks_budget, next_pending
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.gates import check_gate
from interlock.orchestrator.domain.model import (
    MAX_STEPS,
    RUN_FINAL,
    Budget,
    Failure,
    Json,
    ModelCall,
    OnFailure,
    PauseReason,
    Planning,
    Policy,
    Run,
    RunState,
    Step,
    StepSpec,
    StepState,
)
from interlock.orchestrator.domain.people import PLANNER
from interlock.orchestrator.domain.refuse import budget_reached, require_attempts, require_run, require_step
from interlock.orchestrator.domain.votes import check_stages

EVENT_STEPS = 200
"""Most steps in one `run.steps_added` event, so that no event grows without bound."""

MOST_DECIDED = 50
"""Steps after which a run whose steps are decided a few at a time is PAUSED, unless it says another number."""

OPEN = frozenset(RunState) - RUN_FINAL
REOPENABLE = (StepState.FAILED, StepState.REJECTED, StepState.OUTCOME_UNKNOWN)


def create(
    ctx: Context,
    *,
    goal: str,
    workspace_id: str,
    specs: Sequence[StepSpec] = (),
    policy: Policy | None = None,
    budget: Budget | None = None,
    labels: Json | None = None,
    traceparent: str = "",
    start: bool = False,
    left_out: tuple[str, ...] = (),
    left_out_total: int = 0,
    workspace_labels: Json | None = None,
    replay_from: str = "",
    steps_at_a_time: int = 0,
    most_steps: int = 0,
) -> list[e.Event]:
    """A new run, with its steps and started if asked for. Raises RUN_EMPTY_PLAN, RUN_TOO_MANY_STEPS."""
    policy = policy or Policy()
    check_stages(policy)
    if start and not specs:
        raise _empty_plan("The run")
    check_budget(budget or Budget())
    created = e.RunCreated(
        goal,
        workspace_id,
        ctx.subject,
        policy,
        budget or Budget(),
        dict(labels or {}),
        traceparent,
        left_out=left_out,
        left_out_total=left_out_total,
        workspace_labels=dict(workspace_labels or {}),
        replay_from=replay_from,
        steps_at_a_time=steps_at_a_time,
        most_steps=(most_steps or MOST_DECIDED) if steps_at_a_time else 0,
    )
    named = [e.AgentNamed(ctx.subject, ctx.owner)] if ctx.owner else []
    events = [created, *named, *_added(specs, first=1, policy=policy, by=ctx.subject)]
    return [*events, e.RunStarted(ctx.subject)] if start else events


def add_steps(run: Run, ctx: Context, specs: Sequence[StepSpec]) -> list[e.Event]:
    """Appends steps to an open run. One that has ended and of which something was undone is open again with them.

    A FAILED one stays so: it goes on with them once the step that stopped it is retried or skipped.
    """
    allowed = (OPEN | RUN_FINAL if run.undone else OPEN) - {RunState.PLANNING}
    require_run(run, allowed, "add steps")
    if not specs:
        raise _empty_plan("The request")
    added = _added(specs, first=len(run.steps) + 1, policy=run.policy, by=ctx.subject)
    return [*undo.reopened(run, ctx), *added]


def plan(run: Run, ctx: Context, *, additional_context: str = "", max_steps: int = 0) -> list[e.Event]:
    """Starts planning towards the run's goal."""
    require_run(run, (RunState.CREATED, RunState.PLANNED), "plan it")
    if run.waiting is not None:
        raise _waits(run, "plan it")
    if not budget_left(run):
        raise budget_reached(run, "planning")
    if run.steps_at_a_time:
        few = min(run.steps_at_a_time, max_steps or run.steps_at_a_time)
        return [e.PlanningStarted(additional_context, few, by=ctx.subject, going_on=True, then="planned")]
    return [e.PlanningStarted(additional_context, max_steps, by=ctx.subject)]


def planned(
    run: Run,
    ctx: Context,
    specs: Sequence[StepSpec],
    calls: Sequence[ModelCall],
    *,
    planning: Planning | None = None,
) -> list[e.Event]:
    """Records the planner's answer. An answer that nobody waits for any more leaves only its cost.

    `planning` is the question it answers: with it, the answer to an earlier question is stale.
    """
    called: list[e.Event] = [e.ModelCalled(call) for call in calls]
    if run.planning is None or run.cancelling or planning not in (None, run.planning):
        return called
    asked = run.planning
    try:
        if not specs and asked.going_on and asked.then != "planned":
            return [*called, e.Planned(0), e.RunCompleted()]
        if not specs and asked.then != "paused":
            raise _empty_plan("The planner's answer")
        added = _added(specs, first=len(run.steps) + 1, policy=run.policy, by=PLANNER)
    except InterlockError as error:
        return [*called, *_planning_failed(run, failure_of(error))]
    paused = [e.RunPaused(PauseReason.PLANNED_AGAIN.value)] if asked.then == "paused" else []
    return [*called, e.Planned(len(specs), replaces_pending=asked.again), *added, *paused]


def planning_failed(
    run: Run,
    ctx: Context,
    failure: Failure,
    calls: Sequence[ModelCall] = (),
    *,
    planning: Planning | None = None,
) -> list[e.Event]:
    """Records that there is no plan. A run that was being re-planned after a rejection fails, any other is as it was
    before, or waits for somebody to look at it."""
    called: list[e.Event] = [e.ModelCalled(call) for call in calls]
    if run.planning is None or run.cancelling or planning not in (None, run.planning):
        return called
    return [*called, *_planning_failed(run, failure)]


def start(run: Run, ctx: Context) -> list[e.Event]:
    """Starts a planned run."""
    if run.state is RunState.CREATED:
        raise _empty_plan(f"The run {run.run_id}")
    require_run(run, (RunState.PLANNED,), "start it")
    return [e.RunStarted(ctx.subject)]


def wait_to_start(run: Run, ctx: Context, holder: str) -> list[e.Event]:
    """Has a planned run start when its workspace is free; nothing, if it waits already."""
    if run.state is RunState.CREATED:
        raise _empty_plan(f"The run {run.run_id}")
    require_run(run, (RunState.PLANNED,), "start it")
    return [] if run.waiting is not None else [e.RunWaiting(ctx.subject, holder)]


def begin(run: Run, ctx: Context) -> list[e.Event]:
    """Starts a run that has waited; nothing, if it does not wait any more."""
    if run.waiting is None or run.cancelling:
        return []
    return [e.RunStarted(run.waiting.by)]


def execute_next(run: Run, ctx: Context) -> list[e.Event]:
    """Lets a run go on for one step: the one under way, if there is one, else the next."""
    if run.state is RunState.CREATED:
        raise _empty_plan(f"The run {run.run_id}")
    require_run(run, (RunState.PLANNED, RunState.PAUSED), "execute its next step")
    if run.state is RunState.PLANNED:
        return [e.RunStarted(ctx.subject, single_step=True)]
    _require_resumable(run)
    if run.current is None and next_pending(run) is None:
        return [e.RunResumed(ctx.subject), e.RunCompleted()]
    return [e.RunResumed(ctx.subject, single_step=True)]


def pause(run: Run, ctx: Context, comment: str = "") -> list[e.Event]:
    """Holds a run after the step under way."""
    require_run(run, (RunState.RUNNING, RunState.AWAITING_APPROVAL), "pause it")
    return [e.RunPaused(PauseReason.REQUESTED.value, ctx.subject, comment)]


def resume(run: Run, ctx: Context) -> list[e.Event]:
    """Lets a paused run go on, or has one that was set aside driven again, in whatever state it is.

    One whose step has an unknown outcome needs a retry or a skip first.
    """
    if run.set_aside is not None:
        return aside.taken_up(run, ctx)
    require_run(run, (RunState.PAUSED,), "resume it")
    _require_resumable(run)
    return [e.RunResumed(ctx.subject)]


def cancel(run: Run, ctx: Context, comment: str = "") -> list[e.Event]:
    """Ends a run; asking again while it is being cancelled changes nothing, unless it was set aside."""
    taken_up = aside.taken_up(run, ctx)
    if run.cancelling:
        return taken_up
    require_run(run, OPEN, "cancel it", during_rollback=True)
    return [*taken_up, e.CancelRequested(ctx.subject, comment)]


def retry_step(run: Run, ctx: Context, number: int) -> list[e.Event]:
    """Tries a step again, with new gates; a run that had failed or waited because of it goes on.

    A step that has succeeded can be tried again once it was undone; a run that had ended waits to be resumed then.
    A step that its run was set aside with goes on where it was: what it has done is not done again.
    """
    if aside.stuck(run, number) is not None:
        return aside.taken_up(run, ctx)
    target = run.step(number)
    redo = target is not None and target.undone is not None
    require_run(run, (*_AMENDABLE, *(RUN_FINAL if redo else ())), "retry a step")
    step = require_step(run, number, (*REOPENABLE, *([StepState.SUCCEEDED] if redo else [])), "retry it")
    require_attempts(run, step)
    retried = e.StepRetried(ctx.subject, step=number)
    return [*undo.reopened(run, ctx), retried, *_reopened(run, ctx, step)]


def skip_step(run: Run, ctx: Context, number: int, comment: str = "") -> list[e.Event]:
    """Passes over a step that has not taken effect; a run that had failed because of it goes on."""
    require_run(run, _AMENDABLE, "skip a step")
    if (stuck := aside.stuck(run, number)) is not None:
        aside.check_passes_over(run, stuck)
        return [*aside.taken_up(run, ctx), e.StepSkipped(ctx.subject, comment, step=number)]
    allowed = (StepState.PENDING, StepState.AWAITING_APPROVAL, *REOPENABLE)
    step = require_step(run, number, allowed, "skip it")
    withdrawn: list[e.Event] = []
    if step.approval is not None:
        withdrawn = [e.ApprovalCancelled(step.approval.approval_id, step=number)]
    skipped = e.StepSkipped(ctx.subject, comment, step=number)
    reopened = _reopened(run, ctx, step)
    if reopened and run.steps_allowed is not None:
        # Whoever goes step by step has not asked for the next one yet.
        reopened.append(e.RunPaused(PauseReason.SINGLE_STEP.value))
    return [*withdrawn, skipped, *reopened]


def workspace_removed(run: Run, ctx: Context, *, directory_deleted: bool) -> list[e.Event]:
    """Records that the run's workspace is gone; once."""
    return [] if run.workspace_removed else [e.WorkspaceRemoved(ctx.subject, directory_deleted)]


def failure_of(error: InterlockError) -> Failure:
    """An error as journaled data."""
    return Failure(error.reason.value, error.message, error.field, error.fix, dict(error.metadata))


def failure_of_defect(error: Exception) -> Failure:
    """What a driver met, as journaled data; the text of an error that is not ours stays in the log."""
    if isinstance(error, InterlockError):
        return failure_of(error)
    text = f"The orchestrator met a defect ({type(error).__name__}); its log has it, by the run's id."
    return Failure(Reason.INTERNAL.value, text, fix="Report it; then `interlock run resume RUN` tries again.")


_AMENDABLE = (
    RunState.RUNNING,
    RunState.AWAITING_APPROVAL,
    RunState.PAUSED,
    RunState.FAILED,
    RunState.PLANNED,
)


def _added(specs: Sequence[StepSpec], *, first: int, policy: Policy, by: str) -> list[e.Event]:
    total = first - 1 + len(specs)
    if total > MAX_STEPS:
        raise InterlockError(
            Reason.RUN_TOO_MANY_STEPS,
            f"A run has at most {MAX_STEPS} steps; this would make {total}.",
            field="steps",
        )
    for index, spec in enumerate(specs):
        check_gate(spec, policy, index=index, number=first + index)
    return [
        e.StepsAdded(first + at, tuple(specs[at : at + EVENT_STEPS]), by)
        for at in range(0, len(specs), EVENT_STEPS)
    ]


def _planning_failed(run: Run, failure: Failure) -> list[e.Event]:
    asked = run.planning
    if asked is None or asked.then == "planned" or not asked.again:
        return [e.PlanningFailed(failure)]
    if asked.going_on or asked.then == "paused":
        return [e.PlanningFailed(failure), e.RunPaused(PauseReason.PLANNING_FAILED.value)]
    return [e.RunFailed(failure)]


def _reopened(run: Run, ctx: Context, step: Step) -> list[e.Event]:
    """A run goes on by itself only if it stands still because of this very step, the last that was active."""
    unknown = run.state is RunState.PAUSED and run.pause_reason == PauseReason.OUTCOME_UNKNOWN
    if step.number != run.cursor or not (unknown or run.state is RunState.FAILED):
        return []
    return [e.RunResumed(ctx.subject, single_step=run.steps_allowed is not None)]


def _require_resumable(run: Run) -> None:
    step = run.step(run.cursor)
    if step is not None and step.state is StepState.OUTCOME_UNKNOWN:
        raise InterlockError(
            Reason.RUN_WRONG_STATE,
            f"Step {step.number} of {run.run_id} has an unknown outcome; say first what is to become of it.",
            fix="Check what the step did, then `interlock step retry RUN STEP` or `interlock step skip RUN STEP`.",
            metadata={
                "run_id": run.run_id,
                "current": run.state.value,
                "allowed": "",
                "step": str(step.number),
            },
        )
    _require_none_failed(run)
    if run.current is None and lacks_budget(run, next_pending(run)):
        raise budget_reached(run, "its next step")


def _require_none_failed(run: Run) -> None:
    """A run that was cancelled while a step failed, and reopened since, does not pass over that step."""
    for step in run.steps[run.settled :]:
        if step.state is StepState.FAILED and step.spec.on_failure is OnFailure.STOP:
            raise InterlockError(
                Reason.RUN_WRONG_STATE,
                f"Step {step.number} of {run.run_id} has failed; say first what is to become of it.",
                fix="Retry it, `interlock step retry RUN STEP`, or pass over it: `interlock step skip RUN STEP`.",
                metadata={
                    "run_id": run.run_id,
                    "current": run.state.value,
                    "allowed": "",
                    "step": str(step.number),
                },
            )


def check_budget(budget: Budget) -> None:
    """Raises INVALID_ARGUMENT for what no budget is."""
    for name, value in (
        ("max_cost_micros", budget.max_cost_micros),
        ("max_model_calls", budget.max_model_calls),
        ("unpriced_call_micros", budget.unpriced_call_micros),
    ):
        if not 0 <= value <= SAFE_INTEGER:
            raise InterlockError(
                Reason.INVALID_ARGUMENT,
                f"A budget is between 0 and {SAFE_INTEGER}, not {value}.",
                field=f"budget.{name}",
                fix="Use 0 for no limit.",
            )


def _waits(run: Run, verb: str) -> InterlockError:
    return InterlockError(
        Reason.RUN_WRONG_STATE,
        f"The run {run.run_id} is to start and waits for its workspace; to {verb} it must not wait.",
        fix="Let it start (`interlock run wait RUN`), or cancel it and make another one: `interlock run cancel RUN`.",
        metadata={
            "run_id": run.run_id,
            "current": run.state.value,
            "allowed": "",
            "busy": "waiting for its workspace",
        },
    )


def _empty_plan(what: str) -> InterlockError:
    return InterlockError(
        Reason.RUN_EMPTY_PLAN,
        f"{what} has no steps to execute.",
        field="steps",
        fix="Add steps with `interlock step add RUN --plan FILE`, or let the planner make them with PlanRun.",
    )
