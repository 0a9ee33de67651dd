"""The Planner rpcs: convert, call the use case within the caller's deadline, convert back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from google.protobuf.message import Message

from interlock.common.plan import wire
from interlock.planner import convert
from interlock.planner.commands import answer, draft, plan
from interlock.planner.commands.asking import Asked, Asker
from interlock.planner.commands.models import Models
from interlock.planner.domain.model import PlanTask
from interlock.planner.gateways.base import ModelError
from interlock.planner.queries.capabilities import capabilities
from interlock.v1 import planner_pb2, planner_pb2_grpc

T = TypeVar("T")
R = TypeVar("R", bound=Message)

FULL_NAME = planner_pb2.DESCRIPTOR.services_by_name["Planner"].full_name
_REPLY_MARGIN_S = 0.25  # so that a typed MODEL_TIMEOUT still reaches the caller


class PlannerService(planner_pb2_grpc.PlannerServicer):
    """Stateless: every call stands for itself."""

    def __init__(self, models: Models) -> None:
        self._models = models

    async def Plan(self, request: planner_pb2.PlanRequest, context: Any) -> planner_pb2.PlanResponse:
        task = convert.plan_task(request)
        return await self._plan(request, task, planner_pb2.PlanResponse, context)

    async def Replan(self, request: planner_pb2.ReplanRequest, context: Any) -> planner_pb2.ReplanResponse:
        task = convert.replan_task(request)
        return await self._plan(request, task, planner_pb2.ReplanResponse, context)

    async def Analyze(self, request: planner_pb2.AnalyzeRequest, context: Any) -> planner_pb2.AnalyzeResponse:
        task = convert.answer_task(request)
        asked = await self._ask("analyze", request, context, lambda a, left: answer.analyze(a, task, left))
        return _answered(planner_pb2.AnalyzeResponse, asked, lambda text: {"text": text})

    async def Summarize(
        self, request: planner_pb2.SummarizeRequest, context: Any
    ) -> planner_pb2.SummarizeResponse:
        task = convert.answer_task(request)
        asked = await self._ask(
            "summarize", request, context, lambda a, left: answer.summarize(a, task, left)
        )
        return _answered(planner_pb2.SummarizeResponse, asked, lambda text: {"text": text})

    async def DraftEdit(
        self, request: planner_pb2.DraftEditRequest, context: Any
    ) -> planner_pb2.DraftEditResponse:
        task = convert.draft_task(request)
        asked = await self._ask("draft", request, context, lambda a, left: draft.draft(a, task, left))
        return _answered(planner_pb2.DraftEditResponse, asked, lambda text: {"new_content": text})

    async def _plan(self, request: Any, task: PlanTask, response: type[R], context: Any) -> R:
        asked = await self._ask("plan", request, context, lambda a, left: plan.plan(a, task, left))
        return _answered(response, asked, lambda steps: {"steps": [wire.step_spec(step) for step in steps]})

    async def _ask(
        self,
        purpose: str,
        request: Any,
        context: Any,
        ask: Callable[[Asker, float | None], Awaitable[Asked[T]]],
    ) -> Asked[T] | ModelError:
        """What came of a question; a failure after calls were made is data, where the terms ask for that."""
        terms = convert.terms(request.terms)
        try:
            return await self._models.ask(purpose, terms, _time_left(context), ask)
        except ModelError as error:
            if not terms.failure_as_data:
                raise
            return error

    async def StreamReply(
        self, request: planner_pb2.StreamReplyRequest, context: Any
    ) -> AsyncIterator[planner_pb2.StreamReplyResponse]:
        key = convert.reply_key(request.key)
        async with aclosing(self._models.replies.follow(key, request.offset)) as pieces:
            async for piece in pieces:
                yield convert.reply_piece(key, piece)

    async def GetCapabilities(
        self, request: planner_pb2.GetCapabilitiesRequest, context: Any
    ) -> planner_pb2.GetCapabilitiesResponse:
        return convert.capabilities(await capabilities(self._models))


def _answered(response: type[R], asked: Asked[T] | ModelError, fields: Callable[[T], dict[str, Any]]) -> R:
    if isinstance(asked, ModelError):
        return response(failure=convert.failure(asked), exchanges=convert.exchanges(asked.exchanges))
    return response(exchanges=convert.exchanges(asked.exchanges), **fields(asked.value))


def _time_left(context: Any) -> float | None:
    """Seconds the caller still waits, less a margin; None when it set no deadline."""
    left = context.time_remaining()
    return None if left is None else max(0.05, left - _REPLY_MARGIN_S)
