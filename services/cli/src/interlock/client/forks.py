"""Forking a run and comparing two."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.client.connection import Connection
from interlock.client.workspaces import IMPORT_TIMEOUT
from interlock.v1 import fork_pb2 as pb
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

    async def compare_runs(self, run_a: str, run_b: str) -> pb.CompareRunsResponse:
        """Where two runs part: steps, outputs, the trees at the end, costs."""
        request = pb.CompareRunsRequest(run_a=run_a, run_b=run_b)
        return await self.call(self.orchestrator.CompareRuns, request, seconds=IMPORT_TIMEOUT)
