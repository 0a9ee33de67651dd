"""Plans without runs: what the planner is shown of a workspace, as the orchestrator shows it."""

from __future__ import annotations

from typing import Final

from interlock.client.journals import PlannerCalls
from interlock.client.workspaces import WorkspaceCalls
from interlock.common import relevance
from interlock.v1.planner_pb2 import PlanRequest
from interlock.v1.workspace_pb2 import FileType

MOST_FILES: Final = 20_000
_READ: Final = {"most": 40, "file_bytes": 64 * 1024, "total_bytes": 256 * 1024}


class PlanningCalls(WorkspaceCalls, PlannerCalls):
    """Asking for a plan of which nothing is made."""

    async def plan_request(
        self, goal: str, workspace_id: str = "", *, additional_context: str = "", max_steps: int = 0
    ) -> PlanRequest:
        """A request with the workspace's files (at most 20,000 names) and what is in the likeliest ones.

        `plan` sends it; nothing is created by that.
        """
        request = PlanRequest(goal=goal, additional_context=additional_context, max_steps=max_steps)
        if not workspace_id:
            return request
        async for entry in self.list_files(workspace_id):
            if entry.type == FileType.FILE_TYPE_REGULAR and len(request.files) < MOST_FILES:
                request.files.add(path=entry.path, size=entry.size)
        files = {file.path: file for file in request.files}
        sizes = {path: file.size for path, file in files.items()}
        for path in relevance.worth_reading(sizes, goal, **_READ):
            raw = (await self.read_file(workspace_id, path, limit=_READ["file_bytes"])).data
            if len(raw) == sizes[path]:
                files[path].content = _text(raw)
        return request


def _text(raw: bytes) -> str:
    """What is in a text file; empty for any other."""
    try:
        return "" if b"\0" in raw else raw.decode()
    except UnicodeDecodeError:
        return ""
