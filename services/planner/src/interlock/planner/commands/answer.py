"""Analyse and summarise earlier results: a reply in words."""

from __future__ import annotations

from interlock.planner import prompts
from interlock.planner.commands.asking import Asked, Asker, Question, Rejected
from interlock.planner.domain.context import cut, results_section
from interlock.planner.domain.model import AnswerTask
from interlock.planner.gateways.base import CompletionRequest

MAX_TEXT_BYTES = 1024 * 1024
_PLAIN_SUMMARY = "Summarise what was done and what came of it."
_TINY_REPLY_TOKENS = 160
_REPLY_TOKENS = 4_096


async def analyze(asker: Asker, task: AnswerTask, time_left_s: float | None = None) -> Asked[str]:
    """An answer to the instruction, at most 1 MiB. Raises as ``Asker.ask``."""
    return await _answer(asker, task, "analyze", time_left_s)


async def summarize(asker: Asker, task: AnswerTask, time_left_s: float | None = None) -> Asked[str]:
    """A summary, at most 1 MiB. Raises as ``Asker.ask``."""
    return await _answer(asker, task, "summarize", time_left_s)


async def _answer(asker: Asker, task: AnswerTask, purpose: str, time_left_s: float | None) -> Asked[str]:
    prompt_id = f"{purpose}/v1"
    prompt = prompts.load(prompt_id)
    instruction = task.instruction.strip() or _PLAIN_SUMMARY
    tiny = asker.gateway.info.dialect == "tiny"
    room = asker.room(prompt.system, prompt.user.template, instruction, task.goal, " " * 200)
    results = results_section(task.results, max(0, room - 120 * len(task.results)))
    goal = f"The goal of the work: {task.goal}" if task.goal else ""
    filled = prompt.fill(goal=goal, results=cut(results, room), instruction=instruction)
    tokens = _TINY_REPLY_TOKENS if tiny else min(_REPLY_TOKENS, asker.gateway.info.max_reply_tokens)
    question = Question(purpose, prompt_id, CompletionRequest(filled, prompt.system, tokens))
    return await asker.ask(question, _read, time_left_s)


def _read(text: str) -> str | Rejected:
    raw = text.strip().encode("utf-8", "replace")
    if not raw:
        return Rejected("- the answer is empty")
    return raw[:MAX_TEXT_BYTES].decode("utf-8", "ignore")
