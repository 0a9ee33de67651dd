"""Whether a well-formed plan makes sense for its task: size, tree, budget. Schema is the parser's business."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from interlock.common.errors import Reason
from interlock.common.plan import (
    EditFileInput,
    Plan,
    PlanStep,
    Problem,
    StepKind,
    problems_in_data,
)
from interlock.planner.domain.model import PlanTask
from interlock.planner.domain.replies import NoSteps, steps_data
from interlock.planner.domain.sketch import Sketch

_MAX_TOLD = 12


def read_plan(data: Any, task: PlanTask) -> tuple[tuple[PlanStep, ...], tuple[Problem, ...]]:
    """The steps a reply means, or every problem with them. No steps and no problems: the goal is reached already."""
    try:
        steps = steps_data(data)
    except NoSteps as error:
        return (), (Problem(Reason.PLAN_INVALID, "steps", str(error)),)
    if not steps and task.again:
        return (), ()
    plan, problems = problems_in_data({"goal": task.goal, "steps": steps}, task.earlier_steps)
    if plan is None:
        return (), problems
    problems = tuple(check_meaning(plan, task))
    return (() if problems else plan.steps), problems


def check_meaning(plan: Plan, task: PlanTask) -> list[Problem]:
    """Problems that only show against the task: too many steps, what the tree will not hold, what costs too much."""
    problems: list[Problem] = []
    if len(plan.steps) > task.max_steps:
        message = f"has {len(plan.steps)} steps; at most {task.max_steps} are wanted"
        problems.append(Problem(Reason.PLAN_INVALID, "steps", message, "Use fewer steps."))
    problems += _spending(plan.steps, task)
    if task.files:
        tree = Sketch(task.files)
        for index, step in enumerate(plan.steps):
            problems += tree.take(step, f"steps[{index}]")
    return problems


def asks_model(step: PlanStep) -> bool:
    """Whether carrying it out needs a call of a model."""
    chosen = step.input
    return step.kind in _THINKING or (isinstance(chosen, EditFileInput) and chosen.instruction is not None)


def _spending(steps: Sequence[PlanStep], task: PlanTask) -> list[Problem]:
    """Whether what is left of the run's budget is enough for the calls that the steps need."""
    calls = sum(asks_model(step) for step in steps)
    limits = task.limits
    if limits.model_calls is not None and calls > limits.model_calls:
        message = f"need {calls} calls of a model; the budget leaves {limits.model_calls}"
        return [Problem(Reason.RUN_BUDGET_REACHED, "steps", message, _CHEAPER)]
    cost = calls * limits.call_micros
    if limits.cost_micros is not None and cost > limits.cost_micros:
        message = f"would cost about {cost} micro-dollars; the budget leaves {limits.cost_micros}"
        return [Problem(Reason.RUN_BUDGET_REACHED, "steps", message, _CHEAPER)]
    return []


_THINKING = frozenset({StepKind.ANALYZE, StepKind.SUMMARIZE})
_CHEAPER = "Use fewer analyze and summarize steps, and new_content instead of instructions."


def feedback_text(problems: Sequence[Problem]) -> str:
    """The problems as a list for the model, the fix after each; bounded."""
    lines = [
        f"- {problem.text()}{f' {problem.fix}' if problem.fix else ''}" for problem in problems[:_MAX_TOLD]
    ]
    if len(problems) > _MAX_TOLD:
        lines.append(f"- and {len(problems) - _MAX_TOLD} more problems")
    return "\n".join(lines)
