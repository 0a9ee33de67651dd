"""The Python SDK: an asynchronous client for the Interlock services, and the plan format.

from interlock.client import Client

async with Client() as client:
    async for approval in client.approvals():
        print(approval.title, approval.preview.diff)
        await client.decide(approval, "approve")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interlock.client.client import Client
    from interlock.client.convert import plan_from_specs, run_request, step_spec, step_specs
    from interlock.client.endpoints import Endpoints
    from interlock.client.retry import Retry
    from interlock.client.streams import FINAL_RUN_STATES
    from interlock.common.errors import InterlockError, Reason
    from interlock.common.plan import Plan, parse_plan

__all__ = [
    "FINAL_RUN_STATES",
    "Client",
    "Endpoints",
    "InterlockError",
    "Plan",
    "Reason",
    "Retry",
    "parse_plan",
    "plan_from_specs",
    "run_request",
    "step_spec",
    "step_specs",
]

# Imported when they are first asked for: who needs to know where the services are needs no gRPC for it.
_HOMES = {
    "FINAL_RUN_STATES": "interlock.client.streams",
    "Client": "interlock.client.client",
    "Endpoints": "interlock.client.endpoints",
    "InterlockError": "interlock.common.errors",
    "Plan": "interlock.common.plan",
    "Reason": "interlock.common.errors",
    "Retry": "interlock.client.retry",
    "parse_plan": "interlock.common.plan",
    "plan_from_specs": "interlock.client.convert",
    "run_request": "interlock.client.convert",
    "step_spec": "interlock.client.convert",
    "step_specs": "interlock.client.convert",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
