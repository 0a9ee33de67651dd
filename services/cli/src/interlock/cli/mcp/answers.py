"""What tools answer: plain data for a model to read, every text bounded and its cuts visible."""

from __future__ import annotations

from typing import Any

from interlock.cli.show.steps import title
from interlock.cli.text import enum_text, time_text
from interlock.common.errors import InterlockError
from interlock.v1.decision_pb2 import ApprovalRecord
from interlock.v1.policy_pb2 import Gate
from interlock.v1.run_pb2 import Run, RunState
from interlock.v1.step_pb2 import Effect, FileChange, Output, Step, StepFailure, StepState

MOST_CHARS = 24_000
"""Most characters of one text in an answer: content, output, diff or reply."""

MOST_CHANGES = 100
MOST_STEPS = 200

Answer = dict[str, Any]

WAITING = frozenset({StepState.STEP_STATE_AWAITING_APPROVAL})
ENDED = frozenset(
    {
        StepState.STEP_STATE_SUCCEEDED,
        StepState.STEP_STATE_FAILED,
        StepState.STEP_STATE_REJECTED,
        StepState.STEP_STATE_SKIPPED,
        StepState.STEP_STATE_CANCELLED,
        StepState.STEP_STATE_OUTCOME_UNKNOWN,
    }
)


def cut(text: str, most: int = MOST_CHARS) -> str:
    """The text, or its beginning and end with a line between that says how much is missing."""
    if len(text) <= most:
        return text
    head, tail = most * 2 // 3, most - most * 2 // 3
    return f"{text[:head]}\n[… {len(text) - most:,} characters are left out here …]\n{text[-tail:]}"


def step_answer(step: Step) -> Answer:
    """What became of a step; while it waits for a decision, the handle to ask again with."""
    answer: Answer = {
        "run_id": step.run_id,
        "step": step.number,
        "key": f"step-{step.number}",
        "what": title(step.spec),
        "state": enum_text(StepState, step.state).lower(),
        "status": status(step),
    }
    if step.state in WAITING:
        return answer | pending(step.run_id, step.number, step.approval_id)
    if step.HasField("failure"):
        answer["failure"] = failure(step.failure)
    if step.reply:
        answer["reply"] = cut(step.reply)
    if step.HasField("effect"):
        answer |= _effect(step.effect)
    return answer


def status(step: Step) -> str:
    """`done`, `failed`, `refused`, `awaiting_approval` or `working`: what to do next follows from it."""
    if step.state in WAITING:
        return "awaiting_approval"
    if step.state == StepState.STEP_STATE_SUCCEEDED:
        return "done"
    if step.state == StepState.STEP_STATE_FAILED:
        return "failed"
    return "refused" if step.state in ENDED else "working"


def pending(run_id: str, step: int, approval_id: str) -> Answer:
    """The handle of a step that waits: what to call again, and how a person decides."""
    return {
        "approval_id": approval_id,
        "poll": {"tool": "step_result", "arguments": {"run_id": run_id, "step": step}},
        "decided_by": f"A person decides, outside of this server: `interlock approvals show {approval_id}`, then "
        f"`interlock approvals approve {approval_id}` or `reject`. Nothing has taken effect.",
    }


def run_answer(run: Run) -> Answer:
    """A run with its last steps in a line each."""
    shown = run.steps[-MOST_STEPS:]
    answer: Answer = {
        "run_id": run.run_id,
        "workspace_id": run.workspace_id,
        "goal": cut(run.goal, 2_000),
        "state": enum_text(RunState, run.state).lower(),
        "steps_total": run.steps_total,
        "steps": [
            {
                "step": each.number,
                "what": title(each.spec),
                "status": status(each),
                "approval_id": each.approval_id,
            }
            for each in shown
        ],
    }
    if run.pause_reason:
        answer["pause_reason"] = run.pause_reason
    if run.HasField("failure"):
        answer["failure"] = failure(run.failure)
    return answer


def approval_answer(approval: ApprovalRecord) -> Answer:
    """An open question: what it is about and since when; without what would let somebody answer it."""
    return {
        "approval_id": approval.approval_id,
        "run_id": approval.run_id,
        "step": approval.step,
        "what": title(approval.spec),
        "gate": enum_text(Gate, approval.gate).lower(),
        "requested_at": time_text(approval.requested_at),
        "note": cut(approval.gate_note, 1_000),
    }


def failure(found: StepFailure) -> Answer:
    """Why a step or run failed."""
    return error(found.reason, found.message, found.field, found.fix, dict(found.metadata))


def error_of(problem: InterlockError) -> Answer:
    """A refused call, with its documented reason."""
    fields = {each.field: each.description for each in problem.violations}
    return {
        "error": error(
            problem.reason.value, problem.message, problem.field, problem.fix, {**problem.metadata, **fields}
        )
    }


def error(reason: str, message: str, field: str, fix: str, details: dict[str, str]) -> Answer:
    """Reason, message, and what else is known; bounded."""
    found: Answer = {"reason": reason, "message": cut(message, 2_000)}
    found |= {name: text for name, text in (("field", field), ("fix", fix)) if text}
    if details:
        found["details"] = {key: cut(value, 500) for key, value in sorted(details.items())[:20]}
    return found


def _effect(effect: Effect) -> Answer:
    answer: Answer = {}
    if effect.HasField("exit_code"):
        answer["exit_code"] = effect.exit_code
    if effect.signal:
        answer["signal"] = effect.signal
    for name in ("content", "stdout", "stderr"):
        output: Output = getattr(effect, name)
        if output.total_bytes:
            answer[name] = output_text(output)
    if effect.changes_total:
        answer["changes_total"] = effect.changes_total
        answer["changes"] = [_change(each) for each in effect.changes[:MOST_CHANGES]]
    if effect.diff:
        answer["diff"] = cut(effect.diff)
    return answer


def _change(change: FileChange) -> str:
    return f"{change.old_path} → {change.path}" if change.old_path else change.path


def output_text(output: Output) -> str:
    """What was kept of an output, with a line that says what is missing."""
    head, tail = output.head.decode(errors="replace"), output.tail.decode(errors="replace")
    missing = output.total_bytes - len(output.head) - len(output.tail)
    gap = f"\n[… {missing:,} bytes were not kept …]\n" if output.truncated and missing > 0 else ""
    return cut(head + gap + tail)
