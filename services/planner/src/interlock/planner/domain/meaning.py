"""Whether a well-formed plan makes sense for its task: sizes, paths, emptiness. Schema is the parser's business."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Any

from interlock.common.errors import Reason
from interlock.common.plan import (
    EditFileInput,
    Plan,
    PlanStep,
    Problem,
    ReadFileInput,
    RunCommandInput,
    problems_in_data,
)
from interlock.planner.domain.model import PlanTask
from interlock.planner.domain.replies import NoSteps, steps_data

_MAX_TOLD = 12


def read_plan(data: Any, task: PlanTask) -> tuple[tuple[PlanStep, ...], tuple[Problem, ...]]:
    """The steps a reply means, or every problem with them. No steps and no problems: the goal is reached already."""
    try:
        steps = steps_data(data)
    except NoSteps as error:
        return (), (Problem(Reason.PLAN_INVALID, "steps", str(error)),)
    if not steps and task.feedback:
        return (), ()
    plan, problems = problems_in_data({"goal": task.goal, "steps": steps}, task.earlier_steps)
    if plan is None:
        return (), problems
    problems = tuple(check_meaning(plan, task))
    return (() if problems else plan.steps), problems


def check_meaning(plan: Plan, task: PlanTask) -> list[Problem]:
    """Problems that only show against the task: too many steps, files that will not exist."""
    problems: list[Problem] = []
    if len(plan.steps) > task.max_steps:
        message = f"has {len(plan.steps)} steps; at most {task.max_steps} are wanted"
        problems.append(Problem(Reason.PLAN_INVALID, "steps", message, "Use fewer steps."))
    problems += _paths(plan.steps, task)
    return problems


def _paths(steps: Sequence[PlanStep], task: PlanTask) -> list[Problem]:
    """Each path read or patched is a file of the workspace, or made by an earlier edit or (unknowably) a command."""
    if not task.files:
        return []
    known = {posixpath.normpath(file.path) for file in task.files}
    folders = {folder for path in known for folder in _parents(path)}
    problems: list[Problem] = []
    for index, step in enumerate(steps):
        chosen = step.input
        if isinstance(chosen, RunCommandInput):
            return problems  # from here on there may be any file
        if isinstance(chosen, (ReadFileInput, EditFileInput)):
            path = posixpath.normpath(chosen.path)
            where = f"steps[{index}].{step.kind.value}.path"
            if path in folders:
                problems.append(Problem(Reason.PATH_IS_DIRECTORY, where, f"{chosen.path!r} is a directory"))
            elif path not in known and (isinstance(chosen, ReadFileInput) or chosen.patch is not None):
                message = f"{chosen.path!r} is not a file of the workspace"
                problems.append(Problem(Reason.PATH_NOT_FOUND, where, message, "Use a path from the list."))
            known.add(path)
    return problems


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return [".", *("/".join(parts[: count + 1]) for count in range(len(parts)))]


def feedback_text(problems: Sequence[Problem]) -> str:
    """The problems as a list for the model, the fix after each; bounded."""
    lines = [
        f"- {problem.text()}{f' {problem.fix}' if problem.fix else ''}" for problem in problems[:_MAX_TOLD]
    ]
    if len(problems) > _MAX_TOLD:
        lines.append(f"- and {len(problems) - _MAX_TOLD} more problems")
    return "\n".join(lines)
