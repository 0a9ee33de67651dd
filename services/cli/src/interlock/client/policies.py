"""What policy is in force, and what another one would have decided."""

from __future__ import annotations

from collections.abc import AsyncIterator

from interlock.client.connection import Connection
from interlock.v1 import rules_pb2 as pb


class PolicyCalls(Connection):
    """Calls about policies."""

    async def policy(self, run_id: str = "") -> pb.GetPolicyResponse:
        """The installation's policy and, where a run is named, that run's own."""
        return await self.call(self.orchestrator.GetPolicy, pb.GetPolicyRequest(run_id=run_id))

    async def backtest(self, request: pb.BacktestPolicyRequest) -> AsyncIterator[pb.BacktestPolicyResponse]:
        """The steps that a policy would have decided otherwise, then the sum as the last message."""
        async for message in self.stream(self.orchestrator.BacktestPolicy, request):
            yield message
