"""The services behind the facade, called with one request's credential and within its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc

from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.gateway.backends import Backends
from interlock.gateway.forwarding import AUTHORIZATION, Metadata
from interlock.v1 import (
    access_pb2_grpc,
    approval_pb2_grpc,
    executor_pb2_grpc,
    orchestrator_pb2_grpc,
    planner_pb2_grpc,
)

T = TypeVar("T")


class Services:
    """Typed stubs; one per request.

    Attributes:
        credential: the caller's, as it was sent.
    """

    def __init__(self, backends: Backends, metadata: Metadata, seconds: float) -> None:
        self.credential = dict(metadata)[AUTHORIZATION]
        self._metadata = metadata
        self._deadline = asyncio.get_running_loop().time() + seconds
        self.access: Any = access_pb2_grpc.AccessStub(backends.channel("orchestrator"))
        self.orchestrator: Any = orchestrator_pb2_grpc.OrchestratorStub(backends.channel("orchestrator"))
        self.executor: Any = executor_pb2_grpc.ExecutorStub(backends.channel("executor"))
        self.planner: Any = planner_pb2_grpc.PlannerStub(backends.channel("planner"))
        self.approval: Any = approval_pb2_grpc.ApprovalStub(backends.channel("approval"))

    @property
    def seconds(self) -> float:
        """What is left of the request's time; at least a moment."""
        return max(0.01, self._deadline - asyncio.get_running_loop().time())

    async def call(self, rpc: Callable[..., Awaitable[T]], request: Any, seconds: float | None = None) -> T:
        """One rpc. Raises what the service raised."""
        with rpc_errors():
            return await rpc(request, metadata=self._metadata, timeout=seconds or self.seconds)

    @asynccontextmanager
    async def stream(self, rpc: Any, request: Any) -> AsyncIterator[Any]:
        """A streaming rpc, cancelled at the end of the block, or at the deadline."""
        call = rpc(request, metadata=self._metadata, timeout=self.seconds)
        try:
            with rpc_errors():
                yield call
        finally:
            call.cancel()


def is_late(error: InterlockError) -> bool:
    """Whether a call only took longer than its request could wait."""
    return error.reason is Reason.DEADLINE_EXCEEDED or error.metadata.get("grpc_code") == (
        grpc.StatusCode.DEADLINE_EXCEEDED.name
    )
