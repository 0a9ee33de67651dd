"""Forking a run and comparing two."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from interlock.client.connection import Connection
from interlock.client.workspaces import IMPORT_TIMEOUT
from interlock.v1 import fork_pb2 as pb
from interlock.v1.replay_pb2 import ReplayRunRequest, StepReplay
from interlock.v1.run_pb2 import Run


class ForkCalls(Connection):
    """Calls of the orchestrator about runs beside one another."""

    async def fork_run(
        self,
        run_id: str,
        at_step: int = 0,
        *,
        workspace_path: str = "",
        labels: Mapping[str, str] | None = None,
        without_plan: bool = False,
        start: bool = False,
        request_id: str = "",
    ) -> Run:
        """A new run that begins where `at_step` of this one ended (0: before the first), on a new workspace.

        The workspace is `workspace_path` on the executor's machine, absent or empty, or a directory it manages.
        The later steps of the plan are PENDING again, or left out.
        """
        request = pb.ForkRunRequest(
            request_id=self.request_id(request_id),
            run_id=run_id,
            at_step=at_step,
            workspace_path=workspace_path,
            labels=labels or {},
            without_plan=without_plan,
            start=start,
        )
        return (await self.call(self.orchestrator.ForkRun, request, seconds=IMPORT_TIMEOUT)).run

    async def replay_run(
        self, run_id: str, *, all_steps: bool = False, with_network: bool = False
    ) -> AsyncIterator[StepReplay]:
        """A run's steps carried out again in a workspace of their own, up to the first that differs, or all.

        Models are not asked. Commands with network are carried out again only with `with_network`.
        """
        request = ReplayRunRequest(run_id=run_id, all_steps=all_steps, with_network=with_network)
        async for message in self.stream(self.orchestrator.ReplayRun, request):
            yield message.step

    async def compare_runs(self, run_a: str, run_b: str) -> pb.CompareRunsResponse:
        """Where two runs part: steps, outputs, the trees at the end, costs."""
        request = pb.CompareRunsRequest(run_a=run_a, run_b=run_b)
        return await self.call(self.orchestrator.CompareRuns, request, seconds=IMPORT_TIMEOUT)
