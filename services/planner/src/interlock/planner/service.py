"""The Planner rpcs: convert, call the use case within the caller's deadline, convert back."""

from __future__ import annotations

from typing import Any

from interlock.common.plan import wire
from interlock.planner import convert
from interlock.planner.commands import answer, draft, plan
from interlock.planner.commands.asking import Asker
from interlock.planner.queries.capabilities import capabilities
from interlock.v1 import planner_pb2, planner_pb2_grpc

FULL_NAME = planner_pb2.DESCRIPTOR.services_by_name["Planner"].full_name
_REPLY_MARGIN_S = 0.25  # so that a typed MODEL_TIMEOUT still reaches the caller


class PlannerService(planner_pb2_grpc.PlannerServicer):
    """Stateless: every call stands for itself."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    async def Plan(self, request: planner_pb2.PlanRequest, context: Any) -> planner_pb2.PlanResponse:
        asked = await plan.plan(self._asker, convert.plan_task(request), _time_left(context))
        steps = [wire.step_spec(step) for step in asked.value]
        return planner_pb2.PlanResponse(steps=steps, exchanges=convert.exchanges(asked.exchanges))

    async def Replan(self, request: planner_pb2.ReplanRequest, context: Any) -> planner_pb2.ReplanResponse:
        asked = await plan.plan(self._asker, convert.replan_task(request), _time_left(context))
        steps = [wire.step_spec(step) for step in asked.value]
        return planner_pb2.ReplanResponse(steps=steps, exchanges=convert.exchanges(asked.exchanges))

    async def Analyze(self, request: planner_pb2.AnalyzeRequest, context: Any) -> planner_pb2.AnalyzeResponse:
        asked = await answer.analyze(self._asker, convert.answer_task(request), _time_left(context))
        return planner_pb2.AnalyzeResponse(text=asked.value, exchanges=convert.exchanges(asked.exchanges))

    async def Summarize(
        self, request: planner_pb2.SummarizeRequest, context: Any
    ) -> planner_pb2.SummarizeResponse:
        asked = await answer.summarize(self._asker, convert.answer_task(request), _time_left(context))
        return planner_pb2.SummarizeResponse(text=asked.value, exchanges=convert.exchanges(asked.exchanges))

    async def DraftEdit(
        self, request: planner_pb2.DraftEditRequest, context: Any
    ) -> planner_pb2.DraftEditResponse:
        asked = await draft.draft(self._asker, convert.draft_task(request), _time_left(context))
        made = convert.exchanges(asked.exchanges)
        return planner_pb2.DraftEditResponse(new_content=asked.value, exchanges=made)

    async def GetCapabilities(
        self, request: planner_pb2.GetCapabilitiesRequest, context: Any
    ) -> planner_pb2.GetCapabilitiesResponse:
        return convert.capabilities(await capabilities(self._asker.gateway))


def _time_left(context: Any) -> float | None:
    """Seconds the caller still waits, less a margin; None when it set no deadline."""
    left = context.time_remaining()
    return None if left is None else max(0.05, left - _REPLY_MARGIN_S)
