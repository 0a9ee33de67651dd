"""Looks whether the services that a run needs answer, with little patience."""

from __future__ import annotations

import asyncio

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from interlock.common.client import Channel, error_from_rpc
from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.clients.executors import Executors
from interlock.orchestrator.domain.decide_run import failure_of
from interlock.orchestrator.domain.model import Failure
from interlock.orchestrator.worker.troubles import Troubles

_SECONDS = 3.0
_PASSES = frozenset({Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED})


class Looking:
    """`troubles` are what this process's own actions wait for."""

    def __init__(
        self, executor: Executors, planner: Channel, troubles: Troubles, *, lease_seconds: float
    ) -> None:
        self._executor, self._planner = executor, planner
        self.troubles, self.lease_seconds = troubles, lease_seconds

    async def look(self, workspace_id: str) -> tuple[Failure | None, Failure | None, Failure | None]:
        """Why the executor, the workspace and the planner are of no use now; None where they are."""
        (executor, workspace), planner = await asyncio.gather(
            self._at_executor(workspace_id), self._at_planner()
        )
        return executor, workspace, planner

    async def _at_executor(self, workspace_id: str) -> tuple[Failure | None, Failure | None]:
        try:
            await self._executor.workspace(workspace_id, seconds=_SECONDS)
        except InterlockError as error:
            failure = failure_of(error)
            return (failure, None) if error.reason in _PASSES else (None, failure)
        return None, None

    async def _at_planner(self) -> Failure | None:
        stub = health_pb2_grpc.HealthStub(self._planner)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_SECONDS)
        except grpc.aio.AioRpcError as error:
            return failure_of(error_from_rpc(error, "planner"))
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return None
        return Failure(Reason.PLANNER_UNAVAILABLE.value, "The planner is starting or stopping.")
