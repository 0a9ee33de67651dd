"""A pure function from a run and a few facts to what it waits for; the first that applies is said.

What stops everything comes first (it was set aside, its workspace is gone), then what only a person can do, then what
passes by itself: no driver, no executor, no planner, and at last the work that is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from interlock.common.errors import Reason
from interlock.orchestrator.domain.actions import (
    Action,
    AskModel,
    AskPlan,
    Begin,
    Draft,
    Due,
    Judge,
    StepAction,
    actions,
    name,
)
from interlock.orchestrator.domain.explain import people
from interlock.orchestrator.domain.explain.words import Cause, Explanation, Facts, Option, Trouble
from interlock.orchestrator.domain.model import RUN_FINAL, Run, RunState

_MODEL = (AskModel, AskPlan, Draft)
_INSIDE = (Due, Begin, Judge)
"""Actions that need nobody but the orchestrator."""


def explain(run: Run, facts: Facts) -> Explanation:
    """What the run waits for. Total: every state has an answer."""
    if run.set_aside is not None:
        return people.set_aside(run)
    if run.workspace_removed:
        return people.removed(run)
    work = [action for action in actions(run) if not isinstance(action, Due)]
    if work:
        return _under_way(run, facts, work)
    said = _STATES[run.state](run)
    timers = bool(actions(run))
    if timers and not facts.driver.living:
        late = "Nobody drives the run just now, so that its reminders and its expiry come late; a decision counts."
        return Explanation(said.cause, said.summary, said.since, (*said.details, late), said.options)
    return said


def _under_way(run: Run, facts: Facts, work: list[Action]) -> Explanation:
    if run.waiting is not None and not run.cancelling:
        return people.in_line(run, facts)
    if not facts.driver.living:
        return _no_driver(run, facts)
    outside = [action for action in work if not isinstance(action, _INSIDE)]
    thinking = [action for action in outside if isinstance(action, _MODEL)]
    if facts.workspace is not None and len(outside) > len(thinking):
        return _workspace(run, facts)
    if facts.executor is not None and outside and not _asks_only(thinking, outside):
        return _executor(run, facts)
    if thinking and facts.planner is not None:
        return _planner(run, facts)
    troubles = [trouble for trouble in facts.troubles if trouble.action in {name(each) for each in work}]
    if troubles:
        return _troubled(run, troubles[0], bool(thinking))
    return _working(run, work)


def _asks_only(thinking: Sequence[Action], outside: Sequence[Action]) -> bool:
    """Analyses and summaries need no file; plans and drafts begin with what is in the workspace."""
    return len(thinking) == len(outside) and all(isinstance(action, AskModel) for action in thinking)


def _no_driver(run: Run, facts: Facts) -> Explanation:
    owner, silent = facts.driver.owner, facts.driver.silent_since
    if owner:
        summary = f"An orchestrator to drive it: {owner} has its lease and does not answer any more."
    else:
        summary = "An orchestrator to drive it: none has its lease."
    how = (
        f"Any orchestrator on the database takes it over by itself, within {facts.lease:g} seconds of the silence. "
        "What was under way is not lost and not done twice."
    )
    return Explanation(
        Cause.DRIVER,
        summary,
        silent or run.updated_at,
        (how, _stand(run)),
        (
            Option("interlock doctor", "shows which services answer"),
            Option("interlock up", "starts them, where none are running"),
        ),
    )


def _executor(run: Run, facts: Facts) -> Explanation:
    failure = facts.executor
    assert failure is not None
    return Explanation(
        Cause.EXECUTOR,
        f"The executor, which has the workspace {run.workspace_id}: {failure.message}",
        _since(run, facts),
        (
            "The step goes on by itself when the executor is back; what it had finished is not done again.",
            *_fix(failure.fix),
            _stand(run),
        ),
        (
            Option("interlock doctor", "shows which services answer"),
            Option("interlock up", "starts them, where none are running"),
            Option(
                f"interlock run cancel {run.run_id}",
                "ends the run, once the executor is back to stop the step",
            ),
        ),
    )


def _workspace(run: Run, facts: Facts) -> Explanation:
    failure = facts.workspace
    assert failure is not None
    return Explanation(
        Cause.WORKSPACE,
        f"Its workspace {run.workspace_id}: {failure.message}",
        run.updated_at,
        (*_fix(failure.fix), _stand(run)),
        (
            Option(f"interlock workspace show {run.workspace_id}", "shows the workspace"),
            Option(f"interlock run cancel {run.run_id}", "ends the run"),
        ),
    )


def _planner(run: Run, facts: Facts) -> Explanation:
    failure = facts.planner
    assert failure is not None
    return Explanation(
        Cause.PLANNER,
        f"The planner: {failure.message}",
        _since(run, facts),
        (
            "It is asked again a few times; after that the step, or the planning, fails and can be retried.",
            *_fix(failure.fix),
            _stand(run),
        ),
        (
            Option("interlock doctor", "shows which services answer"),
            Option("interlock up", "starts them, where none are running"),
        ),
    )


def _troubled(run: Run, trouble: Trouble, thinking: bool) -> Explanation:
    busy = trouble.failure.reason == Reason.WORKSPACE_BUSY.value
    cause = Cause.WORKSPACE_BUSY if busy else Cause.PLANNER if thinking else Cause.EXECUTOR
    return Explanation(
        cause,
        trouble.failure.message,
        trouble.since,
        (
            f"{trouble.action} was tried {trouble.tries} times ({trouble.failure.reason}); it is tried again.",
            *_fix(trouble.failure.fix),
            _stand(run),
        ),
        (Option(f"interlock run cancel {run.run_id}", "ends the run"),),
    )


def _working(run: Run, work: list[Action]) -> Explanation:
    thinking = any(isinstance(action, _MODEL) for action in work)
    what = ", ".join(_phrase(run, action) for action in work)
    ending = " The run is being cancelled." if run.cancelling else ""
    summary = f"{'A model' if thinking else 'Work that is under way'}: {what}.{ending}"
    options = [Option(f"interlock run watch {run.run_id}", "shows what it prints")]
    if not run.cancelling and run.state not in RUN_FINAL:
        if run.state is RunState.PAUSED:
            options.append(
                Option(f"interlock run resume {run.run_id}", "lets it go on after that: it is PAUSED")
            )
        options.append(Option(f"interlock run cancel {run.run_id}", "stops it and ends the run"))
    return Explanation(
        Cause.MODEL if thinking else Cause.WORK, summary, run.updated_at, (_stand(run),), tuple(options)
    )


def _phrase(run: Run, action: Action) -> str:
    if isinstance(action, StepAction):
        kind = run.steps[action.step - 1].spec.kind.value
        return f"{_VERBS.get(name(action), name(action))} step {action.step} ({kind})"
    return _VERBS.get(name(action), name(action))


_VERBS = {
    "judge": "asking the rules about",
    "askmodel": "asking about",
    "draft": "drafting the edit of",
    "propose": "finding out what would run in",
    "prepare": "carrying out in a fork",
    "apply": "publishing",
    "discard": "throwing away an attempt of",
    "askplan": "asking for a plan",
    "restore": "rolling the workspace back",
    "takeout": "taking a step's effect out of the workspace",
}


def _since(run: Run, facts: Facts) -> datetime:
    return min((trouble.since for trouble in facts.troubles), default=run.updated_at)


def _fix(fix: str) -> tuple[str, ...]:
    return (fix,) if fix else ()


def _stand(run: Run) -> str:
    """Where the run stands."""
    step = run.current
    at = f"; step {step.number}, attempt {step.attempt}, is {step.state.value}" if step is not None else ""
    being = "being cancelled" if run.cancelling else run.state.value
    return f"The run is {being}, {run.steps_done} of {len(run.steps)} steps have ended{at}."


_STATES: dict[RunState, Callable[[Run], Explanation]] = {
    RunState.CREATED: people.no_plan,
    RunState.PLANNING: people.ended,  # planning is always under way
    RunState.PLANNED: people.to_start,
    RunState.RUNNING: people.settling,
    RunState.AWAITING_APPROVAL: people.decision,
    RunState.PAUSED: people.paused,
    RunState.FAILED: people.failed,
    RunState.COMPLETED: people.ended,
    RunState.CANCELLED: people.ended,
}
