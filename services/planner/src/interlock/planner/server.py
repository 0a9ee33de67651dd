"""Wiring of the planner: configuration → gateways → service → server."""

from __future__ import annotations

from interlock.common import logs
from interlock.common.access.scope import Open
from interlock.common.clock import SystemClock
from interlock.common.server import ServerSpec
from interlock.planner.config import PlannerConfig
from interlock.planner.gateways import factory
from interlock.planner.service import FULL_NAME, PlannerService
from interlock.v1 import planner_pb2_grpc

_log = logs.get("planner")


def build_spec(config: PlannerConfig, token: str) -> ServerSpec:
    """Everything ``interlock.common.server.serve`` needs. The first call that needs the local model starts it."""
    models = factory.models(config.models, SystemClock())
    with_key = {each.name for each in config.models.gateways if each.api_key}

    async def say_which() -> None:
        for info in (gateway.info for gateway in models.gateways()):
            _log.info(
                "model gateway",
                gateway=info.name,
                kind=info.kind,
                model=info.model,
                base_url=info.base_url,
                notice=info.notice,
                key="set" if info.name in with_key else "none",
            )
        if len(config.models.gateways) > 1:
            _log.info(
                "model routes", **{name: ", ".join(names) for name, names in config.models.routes.items()}
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
