"""Actions of the planner about steps: analyses, summaries and drafts."""

from __future__ import annotations

from typing import Any

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.clients.executors import Executors
from interlock.orchestrator.clients.replies import reply_key
from interlock.orchestrator.convert import results, texts
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import decide_step
from interlock.orchestrator.domain.model import Run, StepKind
from interlock.orchestrator.runs.payloads import Payloads
from interlock.orchestrator.worker import context
from interlock.orchestrator.worker.asking import Asking
from interlock.orchestrator.worker.done import Done
from interlock.v1 import planner_pb2


class Thinking:
    """Performs the actions that ask a model for steps."""

    def __init__(self, asking: Asking, executor: Executors, payloads: Payloads) -> None:
        self._asking = asking
        self._executor = executor
        self._payloads = payloads

    async def ask(self, run: Run, action: a.AskModel, epoch: int) -> Done:
        """Analyses or summarises earlier results."""
        step = run.steps[action.step - 1]
        said = await context.instruction(self._payloads, step)
        keys = list(step.spec.input.get("context_keys", []))
        seen = await context.results(self._payloads, run, step.number, keys)
        terms = planner_pb2.ModelTerms(live=reply_key(run.run_id, action.step, action.attempt))
        if step.spec.kind is StepKind.ANALYZE:
            analyze = planner_pb2.AnalyzeRequest(instruction=said, goal=run.goal, results=seen, terms=terms)
            response: Any = await self._asking.call(self._asking.stub.Analyze, analyze, run, step.number)
        else:
            summarize = planner_pb2.SummarizeRequest(
                instruction=said, goal=run.goal, results=seen, terms=terms
            )
            response = await self._asking.call(self._asking.stub.Summarize, summarize, run, step.number)
        calls, payloads = results.calls(response.exchanges)
        reply, kept = texts.payload(response.text.encode(), texts.TEXT)
        return Done(
            lambda r, ctx: decide_step.replied(r, ctx, action.step, action.attempt, reply, calls),
            [*payloads, kept],
        )

    async def draft(self, run: Run, action: a.Draft, epoch: int) -> Done:
        """Drafts a file's new content."""
        step = run.steps[action.step - 1]
        path = str(step.spec.input["path"])
        current = await self._executor.read(run.workspace_id, path, context.MAX_FILE_BYTES)
        request = planner_pb2.DraftEditRequest(
            path=path,
            current_content=_text(current, path),
            instruction=await context.instruction(self._payloads, step),
            goal=run.goal,
            results=await context.results(self._payloads, run, step.number, []),
        )
        response = await self._asking.call(self._asking.stub.DraftEdit, request, run, step.number)
        calls, payloads = results.calls(response.exchanges)
        content, kept = texts.payload(response.new_content.encode(), texts.TEXT)
        return Done(
            lambda r, ctx: decide_step.drafted(r, ctx, action.step, action.attempt, content, calls),
            [*payloads, kept],
        )


def _text(content: bytes, path: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InterlockError(
            Reason.FILE_BINARY,
            f"{path} is not UTF-8 text, so no edit of it can be drafted.",
            field="edit_file.path",
        ) from None
