"""What the model gets to see: earlier results and the workspace's files, cut visibly where they are too large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from interlock.common import relevance
from interlock.orchestrator.clients.executors import Executors
from interlock.orchestrator.convert import texts, views
from interlock.orchestrator.domain.model import STEP_FINAL, Run, Step, StepKind
from interlock.orchestrator.runs.payloads import Payloads
from interlock.v1 import planner_pb2, step_pb2, workspace_pb2

RESULT_CHARS = 64_000
TOTAL_CHARS = 400_000
MAX_FILES = 2000
MAX_FILE_BYTES = 1 << 20
READ: Final = {"most": 40, "file_bytes": 64 * 1024, "total_bytes": 256 * 1024}
"""Bounds of what a planner is shown of files' contents."""


async def results(
    payloads: Payloads, run: Run, before: int, keys: Sequence[str]
) -> list[planner_pb2.ContextResult]:
    """Results of the steps that `keys` name, or of all earlier ones, newest kept first when there is too much."""
    wanted = [s for s in run.steps[: before - 1] if s.state in STEP_FINAL and (not keys or s.key in keys)]
    left, out = TOTAL_CHARS, []
    for step in reversed(wanted):
        text = cut(await result_text(payloads, step), min(RESULT_CHARS, left))
        left -= len(text)
        out.append(_result(step, text))
        if left <= 0:
            break
    return out[::-1]


async def result_text(payloads: Payloads, step: Step) -> str:
    """What a step showed: its reply, content, output or diff."""
    if step.reply_payload:
        found = await payloads.get([step.reply_payload])
        return found.get(step.reply_payload, b"").decode(errors="replace")
    if step.prepared is None:
        return step.failure.message if step.failure else ""
    found = await payloads.get([step.prepared.effect_payload])
    effect = views.effect(step.prepared, found)
    return _effect_text(step, effect) if effect is not None else ""


def cut(text: str, limit: int) -> str:
    """The text, or its start and end with a mark of how much is missing between them."""
    if len(text) <= limit:
        return text
    half = max(limit // 2 - 40, 0)
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters cut …]\n{text[len(text) - half :]}"


async def files(executor: Executors, workspace_id: str, goal: str = "") -> list[planner_pb2.ContextFile]:
    """Names and sizes of the workspace's regular files, at most MAX_FILES, and what is in the likeliest ones.

    A file that changes size in between, or is not UTF-8 text, is told by its name only.
    """
    entries = await executor.files(workspace_id, MAX_FILES)
    found = {
        entry.path: planner_pb2.ContextFile(path=entry.path, size=entry.size)
        for entry in entries
        if entry.type == workspace_pb2.FILE_TYPE_REGULAR
    }
    sizes = {path: file.size for path, file in found.items()}
    for path in relevance.worth_reading(sizes, goal, **READ):
        raw = await executor.read(workspace_id, path, READ["file_bytes"])
        if len(raw) == sizes[path] and (text := _text(raw)):
            found[path].content = text
    return list(found.values())


def _text(raw: bytes) -> str:
    """What is in a text file; empty for any other."""
    try:
        return "" if b"\0" in raw else raw.decode()
    except UnicodeDecodeError:
        return ""


async def instruction(payloads: Payloads, step: Step) -> str:
    """The instruction of a model step, wherever it is kept."""
    fields = texts.inline(step.spec.input, await payloads.get(texts.references(step.spec.input)))
    return str(fields.get("instruction", ""))


def _result(step: Step, text: str) -> planner_pb2.ContextResult:
    return planner_pb2.ContextResult(
        key=step.key,
        kind=step_pb2.StepKind.Value(f"STEP_KIND_{step.spec.kind.name}"),
        title=views.title(step.spec),
        state=step_pb2.StepState.Value(f"STEP_STATE_{step.state.name}"),
        text=text,
    )


def _effect_text(step: Step, effect: step_pb2.Effect) -> str:
    if step.spec.kind is StepKind.READ_FILE:
        return _output(effect.content)
    if step.spec.kind is StepKind.EDIT_FILE:
        return effect.diff
    code = f"exit code {effect.exit_code}" if effect.HasField("exit_code") else f"signal {effect.signal}"
    return "\n".join(part for part in (code, _output(effect.stdout), _output(effect.stderr)) if part)


def _output(output: step_pb2.Output) -> str:
    gap = b"\n[... output cut ...]\n" if output.truncated else b""
    return (output.head + gap + output.tail).decode(errors="replace")
