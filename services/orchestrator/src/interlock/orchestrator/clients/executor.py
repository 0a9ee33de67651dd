"""The executor, as the orchestrator uses it."""

from __future__ import annotations

from typing import Any

from interlock.common.client import Channel, rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.clients.session import Session
from interlock.v1 import executor_pb2, executor_pb2_grpc, workspace_pb2

_LIST_PAGE = 5000
_CALL_SECONDS = 120.0


class ExecutorClient:
    """One executor. Steps travel on the session stream, everything else as calls of their own."""

    def __init__(self, channel: Channel) -> None:
        self.stub = executor_pb2_grpc.ExecutorStub(channel)
        self.session = Session(self.stub)

    async def workspace(self, workspace_id: str, *, seconds: float | None = None) -> workspace_pb2.Workspace:
        """Raises WORKSPACE_NOT_FOUND, UNAVAILABLE; DEADLINE_EXCEEDED after `seconds`, or the channel's own."""
        request = executor_pb2.GetWorkspaceRequest(workspace_id=workspace_id)
        with rpc_errors("executor"):
            return (await self.stub.GetWorkspace(request, timeout=seconds)).workspace

    async def files(self, workspace_id: str, limit: int) -> list[workspace_pb2.FileEntry]:
        """The first `limit` entries of the head tree, in byte order of path."""
        entries: list[workspace_pb2.FileEntry] = []
        token = ""
        while len(entries) < limit:
            request = executor_pb2.ListFilesRequest(
                workspace_id=workspace_id, page_size=min(_LIST_PAGE, limit - len(entries)), page_token=token
            )
            with rpc_errors("executor"):
                page = await self.stub.ListFiles(request, timeout=_CALL_SECONDS)
            entries += page.entries
            token = page.next_page_token
            if not token:
                break
        return entries

    async def read(self, workspace_id: str, path: str, limit: int) -> bytes:
        """A file's first bytes at the head tree; empty when there is no such file.

        Raises PATH_NOT_REGULAR for a path that leads through a symbolic link: who asks is to name what is read.
        """
        request = executor_pb2.ReadFileRequest(workspace_id=workspace_id, path=path, limit=limit)
        try:
            with rpc_errors("executor"):
                found = await self.stub.ReadFile(request, timeout=_CALL_SECONDS)
        except InterlockError as error:
            if error.reason is Reason.PATH_NOT_FOUND:
                return b""
            raise
        if found.entry.path and found.entry.path.split("/") != [
            p for p in path.split("/") if p not in ("", ".")
        ]:
            raise InterlockError(
                Reason.PATH_NOT_REGULAR,
                f"{path} leads through a symbolic link to {found.entry.path}.",
                field="path",
                fix="Name the file by its own path.",
            )
        return bytes(found.data)

    async def restore(self, request: executor_pb2.RestoreTreeRequest) -> executor_pb2.RestoreTreeResponse:
        """Publishes an older tree."""
        with rpc_errors("executor"):
            return await self.stub.RestoreTree(request, timeout=_CALL_SECONDS)

    async def revert(self, request: executor_pb2.RevertTreeRequest) -> executor_pb2.RevertTreeResponse:
        """Takes one effect out of a workspace. Raises REVERT_CONFLICT."""
        with rpc_errors("executor"):
            return await self.stub.RevertTree(request, timeout=_CALL_SECONDS)

    async def compare(
        self, request: executor_pb2.CompareEffectsRequest
    ) -> executor_pb2.CompareEffectsResponse:
        """How two effects differ. Raises TREE_NOT_FOUND, UNAVAILABLE."""
        with rpc_errors("executor"):
            return await self.stub.CompareEffects(request, timeout=_CALL_SECONDS)

    async def step(self, kind: str, request: Any) -> Any:
        """A call on the session stream: `propose`, `prepare`, `apply` or `discard`."""
        return await self.session.call(kind, request)

    def output(self, request: executor_pb2.StreamOutputRequest) -> Any:
        """Live output of a step, as a stream of StreamOutputResponse."""
        return self.stub.StreamOutput(request)
