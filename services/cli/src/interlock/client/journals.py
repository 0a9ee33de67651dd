"""Journals and plans."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from interlock.client.connection import Connection
from interlock.client.runs import PLANNING_TIMEOUT
from interlock.v1 import orchestrator_pb2 as pb
from interlock.v1 import planner_pb2 as planner_pb
from interlock.v1.journal_pb2 import Anchor, JournalEvent
from interlock.v1.run_pb2 import Run


class JournalCalls(Connection):
    """Calls about what happened."""

    async def list_events(self, run_id: str, after_seq: int = 0) -> AsyncIterator[JournalEvent]:
        """Events of a run after `after_seq`, in order."""
        request = pb.ListEventsRequest(run_id=run_id, after_seq=after_seq, page_size=500)
        while True:
            page = await self.call(self.orchestrator.ListEvents, request)
            for event in page.events:
                yield event
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def export_journal(self, run_id: str) -> AsyncIterator[bytes]:
        """A run's journal as a bundle, in pieces of at most 256 KiB; see docs/journal-format.md."""
        request = pb.ExportJournalRequest(run_id=run_id)
        async for message in self.stream(self.orchestrator.ExportJournal, request):
            yield message.data

    async def archive_run(self, run_id: str, bundle_digest: str, place: str = "") -> Run:
        """Takes a run out of the database whose bundle, with this digest, the caller has verified and keeps."""
        request = pb.ArchiveRunRequest(run_id=run_id, bundle_digest=bundle_digest, place=place)
        return (await self.call(self.orchestrator.ArchiveRun, request)).run

    async def erase_from_run(
        self,
        run_id: str,
        reason: str,
        *,
        fields: Iterable[str] = (),
        payloads: Iterable[str] = (),
        everything: bool = False,
    ) -> pb.EraseFromRunResponse:
        """Erases texts and payloads of a run that has ended, for good; its journal says so."""
        request = pb.EraseFromRunRequest(
            run_id=run_id, reason=reason, fields=fields, payloads=payloads, everything=everything
        )
        return await self.call(self.orchestrator.EraseFromRun, request)

    async def list_anchors(self, limit: int = 100) -> list[Anchor]:
        """The newest signed statements about the heads of all runs, newest first."""
        found: list[Anchor] = []
        while len(found) < limit:
            before = found[-1].number if found else 0
            size = min(1000, limit - len(found))
            request = pb.ListAnchorsRequest(before_number=before, page_size=size)
            page = (await self.call(self.orchestrator.ListAnchors, request)).anchors
            found.extend(page)
            if len(page) < size:
                break
        return found


class PlannerCalls(Connection):
    """Calls of the planner."""

    async def plan(self, request: planner_pb.PlanRequest) -> planner_pb.PlanResponse:
        """Ask for a plan without making a run."""
        return await self.call(self.planner.Plan, request, seconds=PLANNING_TIMEOUT)

    async def planner_capabilities(self) -> planner_pb.GetCapabilitiesResponse:
        """Which gateway and models answer, and whether they do."""
        return await self.call(self.planner.GetCapabilities, planner_pb.GetCapabilitiesRequest())
