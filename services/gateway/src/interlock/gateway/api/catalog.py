"""Every rpc of `interlock.v1`, found in the generated package: a new one is here without a line of code."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache

import interlock.v1
from interlock.common.errors import InterlockError, Reason
from interlock.gateway.api.methods import Method, method_of

SERVED_BY = {
    "interlock.v1.Orchestrator": "orchestrator",
    "interlock.v1.Executor": "executor",
    "interlock.v1.Planner": "planner",
    "interlock.v1.Approval": "approval",
    "interlock.v1.Access": "orchestrator",
    "interlock.v1.Webhooks": "orchestrator",
    "interlock.v1.AgentRuns": "gateway",
}
"""Which process serves a proto service; the gateway itself has a facade."""


@cache
def methods() -> tuple[Method, ...]:
    """All rpcs, by service and in the order of the protos."""
    return tuple(_found())


def _found() -> Iterator[Method]:
    for module in pkgutil.iter_modules(interlock.v1.__path__):
        if not module.name.endswith("_pb2"):
            continue
        file = importlib.import_module(f"interlock.v1.{module.name}").DESCRIPTOR
        for service in file.services_by_name.values():
            yield from (method_of(each) for each in service.methods)


def backend_of(service: str) -> str:
    """The process that serves a proto service. Raises UNAVAILABLE when this release knows none."""
    try:
        return SERVED_BY[service]
    except KeyError:
        raise InterlockError(Reason.UNAVAILABLE, f"The gateway knows no service {service}.") from None
