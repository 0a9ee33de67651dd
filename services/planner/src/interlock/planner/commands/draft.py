"""Draft the new content of one file. The result is only ever a proposal: the edit is gated by its diff."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from interlock.common.errors import Reason
from interlock.planner import prompts
from interlock.planner.commands.asking import Asked, Asker, Question, Rejected
from interlock.planner.domain import schemas
from interlock.planner.domain.context import cut, fenced, results_section
from interlock.planner.domain.model import DraftTask
from interlock.planner.gateways.base import CompletionRequest, JsonSchema, ModelError

MAX_CONTENT_BYTES = 8 * 1024 * 1024
_PROMPTS = {"rich": "draft/v1", "router": "draft-text/v1", "tiny": "draft-tiny/v1"}
_BLOCK = re.compile(r"^<<<FILE[ \t]*\n(.*?)^FILE>>>", re.DOTALL | re.MULTILINE)
_TINY_REPLY_TOKENS = 600
_TINY_CURRENT = 1_200


async def draft(asker: Asker, task: DraftTask, time_left_s: float | None = None) -> Asked[str]:
    """The whole new content, different from the current one. Raises as ``Asker.ask``.

    The tiny local model only adds lines at the end: it cannot copy a file faithfully.
    """
    question = _question(asker, task)

    def read(answer: Any) -> str | Rejected:
        content = _content(answer, task)
        if isinstance(content, Rejected):
            return content
        if "\0" in content or len(content.encode("utf-8", "replace")) > MAX_CONTENT_BYTES:
            return Rejected("- the content holds a NUL character or is larger than 8 MiB")
        return Rejected("- the content is the same as before") if content == task.current else content

    return await asker.ask(question, read, time_left_s)


def _question(asker: Asker, task: DraftTask) -> Question:
    info = asker.gateway.info
    prompt_id = _PROMPTS[info.dialect]
    prompt = prompts.load(prompt_id)
    tiny = info.dialect == "tiny"
    room = asker.room(prompt.system, prompt.user.template, task.path, task.instruction, " " * 300)
    if tiny:
        current = cut(task.current, min(_TINY_CURRENT, room))
        filled = prompt.fill(path=task.path, current=current, instruction=task.instruction)
        request = CompletionRequest(filled, prompt.system, _TINY_REPLY_TOKENS)
        return Question("draft", prompt_id, request, schemas.draft_schema(tiny=True))
    left = room - len(task.current) - len(task.goal)
    if left < 0:
        # A file that is shown in part cannot be given back whole.
        message = (
            f"{task.path} has {len(task.current):,} characters, more than the model's prompt has room for."
        )
        raise ModelError(
            Reason.MODEL_PROMPT_TOO_LARGE, message, fix="Give the change as a patch or new_content."
        )
    filled = prompt.fill(
        goal=f"The goal of the work: {task.goal}" if task.goal else "",
        path=task.path,
        current=fenced("current content", task.current) if task.current else "The file is new.",
        results=results_section(task.results, left // 2) if task.results else "",
        instruction=task.instruction,
    )
    schema: JsonSchema | None = None if info.dialect == "router" else schemas.draft_schema(tiny=False)
    return Question(
        "draft", prompt_id, CompletionRequest(filled, prompt.system, info.max_reply_tokens), schema
    )


def _content(answer: Any, task: DraftTask) -> str | Rejected:
    if isinstance(answer, str):
        block = _BLOCK.search(answer)
        return (
            block[1]
            if block
            else Rejected("- there is no line <<<FILE followed by content and a line FILE>>>")
        )
    if not isinstance(answer, Mapping):
        return Rejected('- the answer is not an object with "new_content"')
    if isinstance(answer.get("new_content"), str):
        return str(answer["new_content"])
    lines = answer.get("lines_to_add")
    if isinstance(lines, list) and lines and all(isinstance(line, str) for line in lines):
        start = task.current if not task.current or task.current.endswith("\n") else task.current + "\n"
        return start + "".join(line.replace("\n", " ") + "\n" for line in lines)
    return Rejected('- "new_content" is missing or not text')
