"""What only a person can do: start, decide, resume, retry, skip."""

from __future__ import annotations

from datetime import datetime

from interlock.orchestrator.domain.advance import lacks_budget, next_pending
from interlock.orchestrator.domain.aside import passes_over
from interlock.orchestrator.domain.asking import deciders
from interlock.orchestrator.domain.chain import time_text
from interlock.orchestrator.domain.explain.words import Cause, Explanation, Facts, Option
from interlock.orchestrator.domain.model import (
    RUN_FINAL,
    OnFailure,
    PauseReason,
    Run,
    Stage,
    Step,
    StepState,
)
from interlock.orchestrator.domain.timers import escalates_at, expires_at
from interlock.orchestrator.domain.votes import approvers, current_stage

_NAMED = 10


def set_aside(run: Run) -> Explanation:
    """Driving it met a defect too often."""
    held = run.set_aside
    assert held is not None
    step = run.current
    options = [
        Option(
            f"interlock run resume {run.run_id}", "tries again; what has happened is not done a second time"
        )
    ]
    left_alone = not run.cancelling and run.rollback is None and run.revert is None
    if left_alone and step is not None and passes_over(step):
        options.append(_skip(run, step, "goes on without the step that it met the defect in"))
    if run.state not in RUN_FINAL:
        options.append(
            Option(f"interlock run cancel {run.run_id}", "ends the run, and tries once more to stop it")
        )
    return Explanation(
        Cause.SET_ASIDE,
        f"A person: it was set aside because {held.action} failed {held.tries} times in the same way.",
        held.since,
        (f"{held.failure.reason}: {held.failure.message}", *_fix(held.failure.fix)),
        tuple(options),
    )


def removed(run: Run) -> Explanation:
    """There is nothing left to work on."""
    return Explanation(
        Cause.NOTHING,
        f"Nothing: its workspace {run.workspace_id} was removed, so that nothing more can be done in it.",
        run.updated_at,
        (),
        (Option("interlock run start --workspace DIR --plan FILE", "makes another run"),),
    )


def in_line(run: Run, facts: Facts) -> Explanation:
    """It is to start when its workspace is free."""
    wait, line = run.waiting, facts.line
    assert wait is not None
    holder = line.holder if line is not None else wait.holder
    ahead = f" {line.ahead} other runs are served before it." if line is not None and line.ahead else ""
    options = [Option(f"interlock run cancel {run.run_id}", "takes it out of the line")]
    if holder:
        options.insert(
            0, Option(f"interlock run explain {holder}", "shows what the run that has it waits for")
        )
        options.append(Option(f"interlock run cancel {holder}", "ends the run that has it"))
    return Explanation(
        Cause.WORKSPACE_BUSY,
        f"Its workspace {run.workspace_id}, which {holder or 'nobody'} has; it starts by itself.{ahead}",
        wait.since,
        (),
        tuple(options),
    )


def no_plan(run: Run) -> Explanation:
    """It has no steps."""
    return Explanation(
        Cause.PLAN,
        "Steps: it has none yet.",
        _since(run),
        (),
        (
            Option(f"interlock step add {run.run_id} --plan FILE", "adds them from a plan"),
            Option(f"interlock run cancel {run.run_id}", "ends the run"),
        ),
    )


def to_start(run: Run) -> Explanation:
    """Nobody has started it."""
    return Explanation(
        Cause.START,
        "Somebody to start it.",
        _since(run),
        (f"It has {len(run.steps)} steps.",),
        (
            Option(f"interlock run start {run.run_id}", "starts it"),
            Option(f"interlock run cancel {run.run_id}", "ends it"),
        ),
    )


def settling(run: Run) -> Explanation:
    """RUNNING and nothing wanted: the next event is being decided at this moment."""
    return Explanation(Cause.WORK, "Its next step, which is about to begin.", run.updated_at)


def decision(run: Run) -> Explanation:
    """A step asks."""
    step = run.current
    if step is None or step.approval is None:
        return settling(run)
    asked = step.approval
    return Explanation(
        Cause.DECISION,
        f"A decision about step {step.number} ({asked.approval_id}, gate {asked.gate.value}).",
        step.asked_at or run.updated_at,
        _who(run, step),
        (
            Option(f"interlock approvals show {asked.approval_id}", "shows what there is to decide"),
            Option(f"interlock approvals approve {asked.approval_id}", "approves exactly that"),
            Option(f"interlock approvals reject {asked.approval_id}", "refuses it"),
            Option(f"interlock approvals skip {asked.approval_id}", "goes on without the step"),
        ),
    )


def _who(run: Run, step: Step) -> tuple[str, ...]:
    who = deciders(run, step)
    out = []
    if who.stages:
        number = current_stage(who.stages, step.votes)
        for index, stage in enumerate(who.stages):
            given = [vote for vote in step.votes if vote.stage == index]
            people = sorted(approvers(who.groups, stage, step))
            out.append(_stage(index, stage, people, [vote.subject for vote in given], open_=index == number))
    else:
        out.append("Anybody with the role of an approver may decide; one approval is enough.")
    if who.separate_requester:
        apart = ", ".join(sorted({run.created_by, *step.authors} - {""}))
        out.append(f"Not whoever asked for it: {apart}.")
    until, wider = expires_at(step), escalates_at(step)
    out.append(
        f"It expires at {time_text(until)}, and the step then fails." if until else "It does not expire."
    )
    if wider is not None:
        out.append(f"At {time_text(wider)} these may decide too: {_list(list(step.approval.escalate_to))}.")  # type: ignore[union-attr]
    if step.superseded is not None:
        out.append(f"It replaces an earlier preview: {step.superseded.reason}.")
    return tuple(out)


def _stage(index: int, stage: Stage, people: list[str], given: list[str], *, open_: bool) -> str:
    name = f" ({stage.name})" if stage.name else ""
    by = f", given by {_list(given)}" if given else ""
    whose = _list(people) if people else "anybody with the role of an approver"
    state = "is open" if open_ else "is complete" if len(given) >= stage.quorum else "comes later"
    return (
        f"Stage {index + 1}{name} {state}: {len(given)} of {stage.quorum} approvals{by}; {whose} may decide."
    )


def paused(run: Run) -> Explanation:
    """Held by a person, by its budget, or by a step of which nobody knows what it did."""
    last = run.step(run.cursor)
    if last is not None and last.state is StepState.OUTCOME_UNKNOWN:
        return _unknown(run, last)
    if run.current is not None and run.current.state is StepState.AWAITING_APPROVAL:
        said = decision(run)
        resume = Option(f"interlock run resume {run.run_id}", "lets it go on after the decision")
        held = "The run is PAUSED as well: it does not go on after the decision until it is resumed."
        return Explanation(
            said.cause, said.summary, said.since, (*said.details, held), (*said.options, resume)
        )
    failed_step = next((s for s in run.steps if _stops(s)), None)
    if failed_step is not None:
        return _step_failed(run, failed_step)
    if run.current is None and lacks_budget(run, next_pending(run)):
        return _budget(run)
    return Explanation(
        Cause.PERSON,
        f"Somebody to resume it: {_PAUSED.get(run.pause_reason, run.pause_reason or 'it is paused')}.",
        _since(run),
        (),
        (
            Option(f"interlock run resume {run.run_id}", "lets it go on"),
            Option(f"interlock run cancel {run.run_id}", "ends it"),
        ),
    )


_PAUSED = {
    PauseReason.REQUESTED.value: "somebody paused it",
    PauseReason.SINGLE_STEP.value: "it goes step by step, and the step that was asked for has ended",
    PauseReason.REOPENED.value: "it had ended, and was opened again by undoing something of it",
    PauseReason.BUDGET_REACHED.value: "its budget was used up",
    PauseReason.OUTCOME_UNKNOWN.value: "a step had an unknown outcome, about which somebody has decided since",
}


def _stops(step: Step) -> bool:
    return step.state is StepState.FAILED and step.spec.on_failure is OnFailure.STOP


def _unknown(run: Run, step: Step) -> Explanation:
    hosts = step.spec.input.get("network") or {}
    names = hosts.get("items", hosts) if isinstance(hosts, dict) else hosts
    where = f" at {_list([str(each) for each in names])}" if names else ""
    return Explanation(
        Cause.OUTCOME_UNKNOWN,
        f"A person to find out what step {step.number} did{where}: it may or may not have acted.",
        step.ended_at or _since(run),
        tuple(filter(None, (_reason(step), "Nothing of it was published in the workspace."))),
        (
            Option(f"interlock step show {run.run_id} {step.number}", "shows what is known"),
            Option(f"interlock step retry {run.run_id} {step.number}", "runs it again"),
            _skip(run, step, "goes on without it"),
            Option(f"interlock run cancel {run.run_id}", "ends the run"),
        ),
    )


def _budget(run: Run) -> Explanation:
    spent, limit, step = run.spent, run.budget, next_pending(run)
    assert step is not None
    calls = f"{spent.calls} of {limit.max_model_calls} model calls" if limit.max_model_calls else ""
    money = (
        f"{spent.cost_micros or 0} of {limit.max_cost_micros} micro-dollars" if limit.max_cost_micros else ""
    )
    used = " and ".join(filter(None, (calls, money)))
    return Explanation(
        Cause.BUDGET,
        f"A person: its budget is used up, and step {step.number} ({step.spec.kind.value}) would ask a model.",
        _since(run),
        (f"Used: {used}.", "A run's budget is not raised; another run can have a larger one."),
        (
            _skip(run, step, f"passes over that step; then `interlock run resume {run.run_id}` goes on"),
            Option(f"interlock run fork {run.run_id} --at-step {run.cursor}", "goes on in a fork of it"),
            Option(f"interlock run cancel {run.run_id}", "ends it"),
        ),
    )


def failed(run: Run) -> Explanation:
    """A step, or planning, stopped it."""
    step = run.step(run.cursor)
    stopped = (StepState.FAILED, StepState.REJECTED)
    if step is not None and step.state in stopped:
        return _step_failed(run, step)
    failure = run.failure
    why = f"{failure.reason}: {failure.message}" if failure else "It has failed."
    return Explanation(
        Cause.NOTHING,
        "Nothing: it has failed.",
        _since(run),
        (why, *(_fix(failure.fix) if failure else ())),
        (
            Option(
                f"interlock run fork {run.run_id} --at-step {run.cursor}", "goes on from there in a new run"
            ),
        ),
    )


def _step_failed(run: Run, step: Step) -> Explanation:
    was = "was rejected" if step.state is StepState.REJECTED else "failed"
    return Explanation(
        Cause.STEP_FAILED,
        f"A person: step {step.number} {was} and stopped it.",
        step.ended_at or _since(run),
        tuple(filter(None, (_reason(step), *(_fix(step.failure.fix) if step.failure else ())))),
        (
            Option(f"interlock step show {run.run_id} {step.number}", "shows what happened"),
            Option(f"interlock step retry {run.run_id} {step.number}", "tries it again, asking as it did"),
            _skip(run, step, "goes on without it"),
        ),
    )


def ended(run: Run) -> Explanation:
    """Nothing more will happen."""
    return Explanation(
        Cause.NOTHING,
        f"Nothing: it is {run.state.value}.",
        _since(run),
        (),
        (
            Option(f"interlock run get {run.run_id}", "shows what came of it"),
            Option(f"interlock run rollback {run.run_id} --dry-run", "shows what undoing it would change"),
        ),
    )


def _skip(run: Run, step: Step, effect: str) -> Option:
    return Option(f"interlock step skip {run.run_id} {step.number}", effect)


def _reason(step: Step) -> str:
    return f"{step.failure.reason}: {step.failure.message}" if step.failure else ""


def _since(run: Run) -> datetime:
    return run.state_since or run.updated_at


def _fix(fix: str) -> tuple[str, ...]:
    return (fix,) if fix else ()


def _list(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
