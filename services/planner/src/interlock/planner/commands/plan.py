"""Plan a goal, or plan again after a rejection or a failure."""

from __future__ import annotations

from typing import Any

from interlock.common.plan import Plan as PlanDocument
from interlock.common.plan import PlanStep, dump_yaml
from interlock.planner import prompts
from interlock.planner.commands.asking import Asked, Asker, Question, Rejected
from interlock.planner.domain import filemap, limits, meaning, schemas
from interlock.planner.domain.context import cut, fenced, results_section
from interlock.planner.domain.model import PlanTask
from interlock.planner.gateways.base import CompletionRequest, GatewayInfo, JsonSchema

_TINY_REPLY_TOKENS = 800  # more than the form can hold
_TINY_PATH = 120


async def plan(asker: Asker, task: PlanTask, time_left_s: float | None = None) -> Asked[tuple[PlanStep, ...]]:
    """Valid steps for the goal; none only when a re-plan finds nothing left to do. Raises as ``Asker.ask``."""
    question = _question(asker, task)

    def read(data: Any) -> tuple[PlanStep, ...] | Rejected:
        steps, problems = meaning.read_plan(data, task)
        return Rejected(meaning.feedback_text(problems)) if problems else steps

    return await asker.ask(question, read, time_left_s)


def _question(asker: Asker, task: PlanTask) -> Question:
    info = asker.gateway.info
    purpose = "replan" if task.again else "plan"
    if info.dialect == "tiny":
        return _tiny(asker, task, purpose)
    prompt_id = f"{purpose}/v2"
    prompt = prompts.load(prompt_id)
    told = {"limits": limits.told(task), "problems": limits.problems(task), "why": _why(task)}
    room = asker.room(prompt.system, prompt.user.template, task.goal, *told.values(), " " * 600)
    request = CompletionRequest(
        prompt.fill(**_parts(task, room), **told), prompt.system, info.max_reply_tokens
    )
    return Question(purpose, prompt_id, request, _schema(info, task))


def _schema(info: GatewayInfo, task: PlanTask) -> JsonSchema:
    return schemas.router_schema() if info.dialect == "router" else schemas.rich_schema(task.max_steps)


def _parts(task: PlanTask, room: int) -> dict[str, str]:
    """The places of the prompts; context shares what room there is: files, contents, results, the rest."""
    extra = cut(task.additional_context, room // 5)
    return {
        "goal": task.goal,
        "max_steps": str(task.max_steps),
        "files": filemap.listing(task.files, task.goal, room // 5),
        "contents": filemap.contents(task.files, task.goal, room // 3),
        "additional": fenced("additional context", extra) if extra else "",
        "results": results_section(task.results, room // 4),
        "remaining": _remaining(task, room // 8),
        "next": str(task.earlier_steps + 1),
    }


def _why(task: PlanTask) -> str:
    if task.feedback:
        return f"Why the plan has to change:\n{task.feedback}"
    return (
        f"The steps are decided a few at a time. Look at the results so far and give the next {task.max_steps} or "
        "fewer. When the goal is reached, or nothing more can be done for it, give none."
    )


def _remaining(task: PlanTask, budget: int) -> str:
    if not task.remaining:
        return "(none)"
    return fenced("old plan", cut(dump_yaml(PlanDocument("old plan", task.remaining)), budget))


def _tiny(asker: Asker, task: PlanTask, purpose: str) -> Question:
    """A form instead of free steps: a model this small cannot keep to a format or to existing paths by itself."""
    prompt_id = "plan-tiny/v1"
    prompt = prompts.load(prompt_id)
    asker.room(prompt.system, prompt.user.template, task.goal)
    short = [file for file in task.files if len(file.path) <= _TINY_PATH]
    paths = [file.path for file in filemap.related(short, task.goal, most=8)]
    listed = "Files:\n" + "\n".join(paths) if paths else ""
    said = " ".join([task.feedback, *task.problems]).strip()
    earlier = f"The last attempt failed: {cut(said, 400)}" if said else ""
    filled = prompt.fill(goal=cut(task.goal, 1_000), files=cut(listed, 1_500), earlier=earlier)
    request = CompletionRequest(filled, prompt.system, _TINY_REPLY_TOKENS)
    schema = schemas.tiny_schema(paths, filemap.likely_commands(task.files), task.max_steps)
    return Question(purpose, prompt_id, request, schema)
