"""Wiring of the planner: configuration → gateway → service → server."""

from __future__ import annotations

from interlock.common import logs
from interlock.common.access.scope import Open
from interlock.common.clock import SystemClock
from interlock.common.server import ServerSpec
from interlock.planner.commands.models import PURPOSES, Models, Route
from interlock.planner.config import PlannerConfig
from interlock.planner.gateways import factory
from interlock.planner.gateways.guarded import GuardedGateway
from interlock.planner.gateways.traced import TracedGateway
from interlock.planner.service import FULL_NAME, PlannerService
from interlock.v1 import planner_pb2_grpc

_log = logs.get("planner")


def build_spec(config: PlannerConfig, token: str) -> ServerSpec:
    """Everything ``interlock.common.server.serve`` needs. The first call that needs the local model starts it."""
    gateway = TracedGateway(GuardedGateway(factory.build(config.model), SystemClock()))
    route = Route((gateway,), config.model.plan_attempts, config.model.timeout_s)
    models = Models(dict.fromkeys(PURPOSES, route), SystemClock())

    async def say_which() -> None:
        info = gateway.info
        _log.info(
            "model gateway",
            gateway=info.name,
            model=info.model,
            base_url=info.base_url,
            notice=info.notice,
            key="set" if config.model.api_key else "none",
        )

    return ServerSpec(
        name="planner",
        address=config.address,
        services=[(PlannerService(models), planner_pb2_grpc.add_PlannerServicer_to_server, FULL_NAME)],
        token=token,
        orchestrator=config.orchestrator,
        scope=Open(),
        on_start=say_which,
        on_stop=models.aclose,
        ready_file=config.ready_file,
    )
