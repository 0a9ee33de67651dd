"""The Python SDK: an asynchronous client for the Interlock services, and the plan format.

from interlock.client import Client

async with Client() as client:
    async for approval in client.approvals():
        print(approval.title, approval.preview.diff)
        await client.decide(approval, "approve")
"""

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
