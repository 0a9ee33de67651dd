"""Following runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from interlock.client.runs import RunCalls
from interlock.client.streams import FINAL_RUN_STATES, OutputFilter, resuming
from interlock.v1.orchestrator_pb2 import WatchRunRequest, WatchRunResponse
from interlock.v1.run_pb2 import Run


class WatchCalls(RunCalls):
    """Streams about one run."""

    async def watch_run(
        self,
        run_id: str,
        *,
        cursor: str = "",
        without_output: bool = False,
        only_new: bool = False,
        heartbeats: bool = False,
    ) -> AsyncIterator[WatchRunResponse]:
        """Events and live output of a run until it ends, also across restarts of the orchestrator.

        Each message's `cursor` continues after it in a later call. Heartbeats are left out unless asked for.
        """
        output = OutputFilter()
        while True:
            state = -1

            def open_at(position: str) -> AsyncIterator[WatchRunResponse]:
                request = WatchRunRequest(
                    run_id=run_id, cursor=position, without_output=without_output, only_new=only_new
                )
                return self.stream(self.orchestrator.WatchRun, request)

            async for message in resuming(open_at, cursor, self.delays):
                cursor = message.cursor or cursor
                if message.HasField("run"):
                    state = message.run.state
                if (heartbeats or message.WhichOneof("update")) and output.fresh(message):
                    yield message
            if state in FINAL_RUN_STATES or await self._has_ended(run_id):
                return
            await asyncio.sleep(self.retry.first)  # the orchestrator drained: go on with its successor

    async def wait_run(self, run_id: str) -> Run:
        """Wait until the run has ended; returns it with its steps."""
        async for _ in self.watch_run(run_id, without_output=True):
            pass
        return await self.get_run(run_id)

    async def _has_ended(self, run_id: str) -> bool:
        return (await self.get_run(run_id, without_steps=True)).state in FINAL_RUN_STATES
