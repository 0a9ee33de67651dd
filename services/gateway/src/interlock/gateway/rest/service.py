"""The rpcs of `interlock.v1.AgentRuns`, served inside the gateway: check, call, map."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.message import DecodeError

from interlock.common.errors import InterlockError, Reason
from interlock.gateway.backends import Backends
from interlock.gateway.forwarding import Metadata
from interlock.gateway.rest import deciding, planning, runs
from interlock.gateway.rest.seen import Seen
from interlock.gateway.rest.services import Services
from interlock.v1 import agent_run_pb2 as pb

SERVICE: Final = "interlock.v1.AgentRuns"
CREATES: Final = frozenset({f"{SERVICE}.CreateAgentRun", f"{SERVICE}.AddAgentStep"})
"""Methods that are answered with 201."""

_REQUESTS: Final[dict[str, Any]] = {
    "CreateAgentRun": pb.CreateAgentRunRequest,
    "GetAgentRun": pb.GetAgentRunRequest,
    "AddAgentStep": pb.AddAgentStepRequest,
    "ExecuteAgentStep": pb.ExecuteAgentStepRequest,
    "ApproveAgentStep": pb.ApproveAgentStepRequest,
    "SkipAgentStep": pb.SkipAgentStepRequest,
    "GetAgentRunCost": pb.GetAgentRunCostRequest,
    "CreateAgentPlan": pb.CreateAgentPlanRequest,
}


class AgentRuns:
    """The facade. The services behind it judge the credential, the rules and the state."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends
        self._seen = Seen()

    async def __call__(self, method: str, raw: bytes, metadata: Metadata, seconds: float) -> bytes:
        """One rpc, from bytes to bytes. Raises VALIDATION_FAILED and what the services raise."""
        # Not at the start of the process: it takes a while to load, and not everybody uses the facade.
        from interlock.common.interceptors.validation import validate

        try:
            request = _REQUESTS[method].FromString(raw)
        except DecodeError:
            raise InterlockError(
                Reason.INVALID_ARGUMENT, "The request is not a well-formed protobuf message."
            ) from None
        services = Services(self._backends, metadata, seconds)
        try:
            validate(request)
            response = await getattr(self, method)(services, request)
        except InterlockError:
            # A caller without a valid credential learns nothing, also not what is wrong with its request.
            await runs.admit(services)
            raise
        return bytes(response.SerializeToString())

    async def CreateAgentRun(self, services: Services, request: Any) -> pb.CreateAgentRunResponse:
        """A run on a directory."""
        return pb.CreateAgentRunResponse(agent_run=await runs.create(services, request))

    async def GetAgentRun(self, services: Services, request: Any) -> pb.GetAgentRunResponse:
        """A run with its steps."""
        return pb.GetAgentRunResponse(agent_run=await runs.read(services, self._seen, request.run_id))

    async def AddAgentStep(self, services: Services, request: Any) -> pb.AddAgentStepResponse:
        """A step at the end."""
        return pb.AddAgentStepResponse(step=await runs.add_step(services, request))

    async def ExecuteAgentStep(self, services: Services, request: Any) -> pb.ExecuteAgentStepResponse:
        """The next step."""
        return await runs.execute(services, self._seen, request.run_id)

    async def ApproveAgentStep(self, services: Services, request: Any) -> pb.ApproveAgentStepResponse:
        """What was shown."""
        return pb.ApproveAgentStepResponse(step=await deciding.approve(services, self._seen, request))

    async def SkipAgentStep(self, services: Services, request: Any) -> pb.SkipAgentStepResponse:
        """A step passed over."""
        return pb.SkipAgentStepResponse(step=await deciding.skip(services, request))

    async def GetAgentRunCost(self, services: Services, request: Any) -> pb.GetAgentRunCostResponse:
        """What it cost."""
        return await planning.cost(services, request.run_id)

    async def CreateAgentPlan(self, services: Services, request: Any) -> pb.CreateAgentPlanResponse:
        """A plan."""
        return await planning.plan(services, request)
