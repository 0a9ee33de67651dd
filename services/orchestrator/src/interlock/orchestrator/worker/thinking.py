"""Actions of the planner: plans, re-plans, analyses, summaries and drafts."""

from __future__ import annotations

from typing import Any

from interlock.common.client import Channel, rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.clients.executor import ExecutorClient
from interlock.orchestrator.convert import inputs, results, texts, views
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import decide_run, decide_step
from interlock.orchestrator.domain.model import STEP_FINAL, Failure, ModelCall, Run, StepKind, StepState
from interlock.orchestrator.runs.book import RunBook
from interlock.orchestrator.runs.payloads import Payloads
from interlock.orchestrator.store.records import Payload
from interlock.orchestrator.worker import context, recorded
from interlock.orchestrator.worker.done import Done
from interlock.v1 import planner_pb2, planner_pb2_grpc

_PURPOSES = {
    "PlanRequest": frozenset({"plan", "replan"}),
    "ReplanRequest": frozenset({"plan", "replan"}),
    "AnalyzeRequest": frozenset({"analyze"}),
    "SummarizeRequest": frozenset({"summarize"}),
    "DraftEditRequest": frozenset({"draft"}),
}
"""Of which purposes the recorded exchanges are that may answer a request."""


class Thinking:
    """Performs the actions that ask a model; `seconds` bounds one call, with all that the planner makes of it."""

    def __init__(
        self,
        channel: Channel,
        executor: ExecutorClient,
        payloads: Payloads,
        book: RunBook,
        *,
        seconds: float = 600.0,
    ) -> None:
        self._seconds = seconds
        self._planner = planner_pb2_grpc.PlannerStub(channel)
        self._executor = executor
        self._payloads = payloads
        self._book = book

    async def ask(self, run: Run, action: a.AskModel, epoch: int) -> Done:
        """Analyses or summarises earlier results."""
        step = run.steps[action.step - 1]
        said = await context.instruction(self._payloads, step)
        keys = list(step.spec.input.get("context_keys", []))
        seen = await context.results(self._payloads, run, step.number, keys)
        if step.spec.kind is StepKind.ANALYZE:
            analyze = planner_pb2.AnalyzeRequest(instruction=said, goal=run.goal, results=seen)
            response: Any = await self._call(self._planner.Analyze, analyze, run, step.number)
        else:
            summarize = planner_pb2.SummarizeRequest(instruction=said, goal=run.goal, results=seen)
            response = await self._call(self._planner.Summarize, summarize, run, step.number)
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
        response = await self._call(self._planner.DraftEdit, request, run, step.number)
        calls, payloads = results.calls(response.exchanges)
        content, kept = texts.payload(response.new_content.encode(), texts.TEXT)
        return Done(
            lambda r, ctx: decide_step.drafted(r, ctx, action.step, action.attempt, content, calls),
            [*payloads, kept],
        )

    async def plan(self, run: Run, action: a.AskPlan, epoch: int) -> Done:
        """Asks for steps towards the goal, or for others in place of those that did not run."""
        files = await context.files(self._executor, run.workspace_id)
        asked = action.planning
        if asked.feedback:
            replan = await self._replan(run, asked.feedback, files)
            response: Any = await self._call(self._planner.Replan, replan, run, 0)
        else:
            request = planner_pb2.PlanRequest(
                goal=run.goal,
                files=files,
                additional_context=asked.additional_context,
                max_steps=asked.max_steps,
                policy=views.policy(run.policy),
            )
            response = await self._call(self._planner.Plan, request, run, 0)
        calls, payloads = results.calls(response.exchanges)
        specs, long_texts = inputs.specs(response.steps)
        return Done(
            lambda r, ctx: decide_run.planned(r, ctx, specs, calls, planning=asked), [*payloads, *long_texts]
        )

    async def _answer(self, method: Any, request: Any) -> Any:
        try:
            with rpc_errors("planner"):
                return await method(request, timeout=self._seconds)
        except InterlockError as error:
            raise _failed(error, self._seconds) from None

    async def _replan(
        self, run: Run, feedback: str, files: list[planner_pb2.ContextFile]
    ) -> planner_pb2.ReplanRequest:
        ended = sum(step.state in STEP_FINAL for step in run.steps)
        return planner_pb2.ReplanRequest(
            goal=run.goal,
            files=files,
            results=await context.results(self._payloads, run, len(run.steps) + 1, []) if ended else [],
            remaining=[views.spec(s.spec, {}) for s in run.steps if s.state is StepState.PENDING],
            feedback=feedback,
            max_steps=run.planning.max_steps if run.planning else 0,
            policy=views.policy(run.policy),
        )

    async def _call(self, method: Any, request: Any, run: Run, step: int) -> Any:
        """Asks the planner on the run's terms: a failed question comes back as data, with what was paid for."""
        request.terms.failure_as_data = True
        if run.replay_from:
            purposes = _PURPOSES[type(request).__name__]
            found = await recorded.record(self._book, self._payloads, run, step, purposes)
            request.terms.record.CopyFrom(found)
        response = await self._answer(method, request)
        if response.HasField("failure"):
            raise QuestionFailedError(results.failure(response.failure), *results.calls(response.exchanges))
        return response


class QuestionFailedError(InterlockError):
    """A question that failed in the end, with the model calls that were made for it."""

    def __init__(self, failure: Failure, calls: list[ModelCall], payloads: list[Payload]) -> None:
        super().__init__(
            Reason(failure.reason),
            failure.message,
            field=failure.field,
            fix=failure.fix,
            metadata={name: str(value) for name, value in failure.metadata.items()},
        )
        self.calls = calls
        self.payloads = payloads


def _text(content: bytes, path: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InterlockError(
            Reason.FILE_BINARY,
            f"{path} is not UTF-8 text, so no edit of it can be drafted.",
            field="edit_file.path",
        ) from None


def _failed(error: InterlockError, seconds: float) -> InterlockError:
    """What a planner that did not answer means: one that is away is asked again, one that was too slow is not.

    A model that was asked may have to be paid for, whoever gave up waiting; so a person says whether to ask again.
    """
    if error.reason is Reason.UNAVAILABLE:
        text = "The planner cannot be reached."
        return InterlockError(Reason.PLANNER_UNAVAILABLE, text, metadata=error.metadata)
    if error.reason is Reason.DEADLINE_EXCEEDED:
        return InterlockError(
            Reason.MODEL_TIMEOUT,
            f"The planner did not answer within {seconds:g} s.",
            fix="Try it again, or give it longer: INTERLOCK_MODEL_CALL_SECONDS.",
            metadata=error.metadata,
        )
    return error
