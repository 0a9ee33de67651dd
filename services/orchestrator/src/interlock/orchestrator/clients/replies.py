"""Replies of models while they come, from the planner."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from interlock.common.client import Channel
from interlock.v1 import planner_pb2, planner_pb2_grpc, step_pb2


class Replies:
    """Reads what a model has said so far of a step."""

    def __init__(self, channel: Channel) -> None:
        self._stub = planner_pb2_grpc.PlannerStub(channel)

    async def follow(
        self, run_id: str, step: int, attempt: int, offset: int
    ) -> AsyncGenerator[step_pb2.OutputChunk, None]:
        """The pieces from `offset` on until the question ends. Raises grpc.aio.AioRpcError."""
        key = reply_key(run_id, step, attempt)
        call = self._stub.StreamReply(planner_pb2.StreamReplyRequest(key=key, offset=offset))
        try:
            async for response in call:
                if response.HasField("chunk"):
                    yield response.chunk
        finally:
            call.cancel()


def reply_key(run_id: str, step: int, attempt: int) -> planner_pb2.ReplyKey:
    """Under which the planner tells the reply to a step."""
    return planner_pb2.ReplyKey(run_id=run_id, step=step, attempt=attempt)
