"""Workspaces and the executor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from interlock.client.connection import Connection
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import executor_pb2 as pb
from interlock.v1.orchestrator_pb2 import (
    CollectStorageRequest,
    RemoveWorkspaceRequest,
    RemoveWorkspaceResponse,
)
from interlock.v1.step_pb2 import Limits
from interlock.v1.workspace_pb2 import DirectorySource, FileEntry, Snapshot, Workspace, WorkspaceSource

IMPORT_TIMEOUT = 900.0
"""Seconds the import of a workspace may take: all its content is read once."""

STORAGE_TIMEOUT = 900.0
"""Seconds that looking at everything in the store may take."""


class WorkspaceCalls(Connection):
    """Calls of the executor about workspaces."""

    async def create_workspace(
        self,
        source: WorkspaceSource,
        labels: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        *,
        request_id: str = "",
    ) -> Workspace:
        """Make a directory, a clone or an archive a workspace. `limits`: of commands in it, see `Workspace`."""
        request = pb.CreateWorkspaceRequest(
            request_id=self.request_id(request_id), source=source, labels=labels or {}, limits=limits
        )
        return (await self.call(self.executor.CreateWorkspace, request, seconds=IMPORT_TIMEOUT)).workspace

    async def open_directory(self, path: str | Path) -> Workspace:
        """The workspace of a directory on the executor's machine, created if it is not one yet."""
        wanted, real = _spellings(path)
        try:
            source = WorkspaceSource(directory=DirectorySource(path=wanted))
            return await self.create_workspace(source)
        except InterlockError as error:
            if error.reason is not Reason.WORKSPACE_EXISTS:
                raise
            found = await self._existing({wanted, real}, error)
            if found is None:
                raise
            return found

    async def _existing(self, paths: set[str], error: InterlockError) -> Workspace | None:
        """The workspace at exactly this path; not one inside it or around it."""
        known = error.metadata.get("workspace_id")
        if known:
            workspace = await self.get_workspace(known)
            return workspace if workspace.path in paths else None
        async for workspace in self.list_workspaces():
            if workspace.path in paths:
                return workspace
        return None

    async def get_workspace(self, workspace_id: str) -> Workspace:
        """A workspace and the tree it is at."""
        request = pb.GetWorkspaceRequest(workspace_id=workspace_id)
        return (await self.call(self.executor.GetWorkspace, request)).workspace

    async def remove_workspace(
        self, workspace_id: str, *, delete_directory: bool = False, request_id: str = ""
    ) -> RemoveWorkspaceResponse:
        """Take it out of Interlock's care; its directory stays, or, if Interlock made it, may be deleted with it."""
        request = RemoveWorkspaceRequest(
            request_id=self.request_id(request_id),
            workspace_id=workspace_id,
            delete_directory=delete_directory,
        )
        return await self.call(self.orchestrator.RemoveWorkspace, request, seconds=IMPORT_TIMEOUT)

    async def list_workspaces(self) -> AsyncIterator[Workspace]:
        """All workspaces by id."""
        request = pb.ListWorkspacesRequest(page_size=500)
        while True:
            page = await self.call(self.executor.ListWorkspaces, request)
            for workspace in page.workspaces:
                yield workspace
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def list_files(self, workspace_id: str, tree: str = "", path: str = "") -> AsyncIterator[FileEntry]:
        """Entries of a tree (by default the head) at or below `path`, in byte order."""
        request = pb.ListFilesRequest(workspace_id=workspace_id, tree=tree, path=path, page_size=5000)
        while True:
            page = await self.call(self.executor.ListFiles, request)
            for entry in page.entries:
                yield entry
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
            request.tree = page.tree

    async def read_file(
        self, workspace_id: str, path: str, *, tree: str = "", offset: int = 0, limit: int = 0
    ) -> pb.ReadFileResponse:
        """Bytes of a file of a tree; `limit` 0 = 1 MiB, at most 8 MiB."""
        request = pb.ReadFileRequest(
            workspace_id=workspace_id, tree=tree, path=path, offset=offset, limit=limit
        )
        return await self.call(self.executor.ReadFile, request)

    async def diff_trees(
        self, workspace_id: str, from_tree: str = "", to_tree: str = "", *, to_workspace_id: str = ""
    ) -> pb.DiffTreesResponse:
        """How two trees differ, the second one of `to_workspace_id` if named; by default the first and the head."""
        request = pb.DiffTreesRequest(
            workspace_id=workspace_id,
            from_tree=from_tree,
            to_tree=to_tree,
            to_workspace_id=to_workspace_id,
        )
        return await self.call(self.executor.DiffTrees, request)

    async def list_snapshots(self, workspace_id: str, limit: int = 100) -> list[Snapshot]:
        """Trees the workspace has been at, newest first, at most 1,000."""
        request = pb.ListSnapshotsRequest(workspace_id=workspace_id, page_size=min(limit, 1000))
        return list((await self.call(self.executor.ListSnapshots, request)).snapshots)

    async def every_snapshot(self, workspace_id: str) -> AsyncIterator[Snapshot]:
        """All trees the workspace has been at, newest first, page by page."""
        request = pb.ListSnapshotsRequest(workspace_id=workspace_id, page_size=1000)
        while True:
            page = await self.call(self.executor.ListSnapshots, request)
            for snapshot in page.snapshots:
                yield snapshot
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def storage(self, workspace_ids: Sequence[str] = ()) -> pb.GetStorageResponse:
        """What the executor's directory holds, in all and for these workspaces (by default all of them)."""
        request = pb.GetStorageRequest(workspace_ids=workspace_ids)
        return await self.call(self.executor.GetStorage, request, seconds=STORAGE_TIMEOUT)

    async def collect_storage(
        self, *, dry_run: bool = False, retention: timedelta | None = None, request_id: str = ""
    ) -> pb.CollectGarbageResponse:
        """Have the executor remove what no run refers to; with `dry_run`, only count it."""
        request = CollectStorageRequest(request_id=self.request_id(request_id), dry_run=dry_run)
        if retention is not None:
            request.retention.FromTimedelta(retention)
        return (await self.call(self.orchestrator.CollectStorage, request, seconds=STORAGE_TIMEOUT)).executor


def _spellings(path: str | Path) -> tuple[str, str]:
    """The path made absolute, and the same without symbolic links."""
    absolute = Path(path).expanduser().absolute()
    return str(absolute), str(absolute.resolve())
