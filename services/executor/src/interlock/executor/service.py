"""The Executor service: every handler checks, calls a use case, and maps the answer."""

from __future__ import annotations

import importlib.metadata
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

from interlock.common import logs
from interlock.common.access.scope import covers
from interlock.common.identity import current_identity
from interlock.common.paging import decode_page_token, encode_page_token
from interlock.common.telemetry import span
from interlock.executor.commands.apply import apply
from interlock.executor.commands.collect_garbage import collect_garbage, gather
from interlock.executor.commands.create_workspace import create_workspace
from interlock.executor.commands.discard import discard
from interlock.executor.commands.forget_workspace import forget_workspace
from interlock.executor.commands.prepare import prepare
from interlock.executor.commands.propose import propose
from interlock.executor.commands.restore import Restore, restore
from interlock.executor.commands.revert import RevertTree, revert
from interlock.executor.convert import effects as to_wire
from interlock.executor.convert import exports
from interlock.executor.convert import info as info_to_wire
from interlock.executor.convert import requests as from_wire
from interlock.executor.convert import storage as storage_wire
from interlock.executor.convert import workspaces as ws_to_wire
from interlock.executor.domain.limits import Limits
from interlock.executor.domain.model import StepRequest
from interlock.executor.effects.store import Record
from interlock.executor.engine import Engine
from interlock.executor.exports.git import Omissions
from interlock.executor.labels import check_labels
from interlock.executor.queries import files, output, storage
from interlock.executor.queries.export import export
from interlock.executor.session import run_session
from interlock.v1 import executor_pb2 as pb
from interlock.v1 import executor_pb2_grpc, export_pb2

HEARTBEAT = 10.0
"""Seconds of silence after which a stream says that it is alive."""

_WORKSPACES = "ListWorkspaces"


class ExecutorService(executor_pb2_grpc.ExecutorServicer):
    """See protos/interlock/v1/executor.proto: its comments are the specification."""

    def __init__(self, engine: Engine, defaults: Limits, admin_labels: frozenset[str] = frozenset()) -> None:
        self._engine, self._defaults, self._admin_labels = engine, defaults, admin_labels

    async def Propose(self, request: pb.ProposeRequest, context: Any) -> pb.ProposeResponse:
        asked = await self._asked(request)
        with _span("propose", request.key):
            return to_wire.propose_response(
                await propose(self._engine, asked, caller=from_wire.caller_of(request)), asked.limits
            )

    async def Prepare(self, request: pb.PrepareRequest, context: Any) -> pb.PrepareResponse:
        asked = await self._asked(request)
        with _span("prepare", request.key):
            caller = from_wire.caller_of(request)
            record = await prepare(
                self._engine, asked, expected=request.expected_request_digest, caller=caller
            )
            return to_wire.prepare_response(record)

    async def Apply(self, request: pb.ApplyRequest, context: Any) -> pb.ApplyResponse:
        with _span("apply", request.key):
            record = await apply(
                self._engine,
                from_wire.key_of(request.key),
                effect=request.effect_digest,
                approved=request.approved_digest,
                approval=request.approval_id,
                caller=from_wire.caller_of(request),
            )
            return to_wire.apply_response(record)

    async def Discard(self, request: pb.DiscardRequest, context: Any) -> pb.DiscardResponse:
        with _span("discard", request.key):
            caller = from_wire.caller_of(request)
            record = await discard(self._engine, from_wire.key_of(request.key), caller=caller)
            return pb.DiscardResponse(state=to_wire.state(record))

    async def GetEffect(self, request: pb.GetEffectRequest, context: Any) -> pb.GetEffectResponse:
        return to_wire.effect_response(await self._record(request.key))

    async def Session(
        self, requests: AsyncIterator[pb.SessionRequest], context: Any
    ) -> AsyncIterator[pb.SessionResponse]:
        async for frame in run_session(self, requests, HEARTBEAT, self._engine.draining):
            yield frame

    async def StreamOutput(
        self, request: pb.StreamOutputRequest, context: Any
    ) -> AsyncIterator[pb.StreamOutputResponse]:
        offsets = {"stdout": request.stdout_offset, "stderr": request.stderr_offset}
        key = from_wire.key_of(request.key)
        async for piece in output.stream(self._engine, key, offsets, HEARTBEAT, to_wire.kept_output):
            yield to_wire.output_response(key, piece)

    async def CreateWorkspace(
        self, request: pb.CreateWorkspaceRequest, context: Any
    ) -> pb.CreateWorkspaceResponse:
        await check_labels(self._engine, self._admin_labels, current_identity(), request)
        original = from_wire.shown_source(request.source)
        created = await create_workspace(
            self._engine,
            from_wire.source_of(request.source),
            original=original,
            labels=dict(request.labels),
            limits=from_wire.workspace_limits(request.limits),
            request_id=request.request_id,
        )
        return pb.CreateWorkspaceResponse(workspace=ws_to_wire.workspace(created, original))

    async def ForgetWorkspace(
        self, request: pb.ForgetWorkspaceRequest, context: Any
    ) -> pb.ForgetWorkspaceResponse:
        answer = await forget_workspace(
            self._engine,
            request.workspace_id,
            delete=request.delete_directory,
            request_id=request.request_id,
            render=ws_to_wire.forgotten_payload,
        )
        return pb.ForgetWorkspaceResponse.FromString(answer)

    async def GetWorkspace(self, request: pb.GetWorkspaceRequest, context: Any) -> pb.GetWorkspaceResponse:
        found = await self._engine.call(self._engine.workspaces.get, request.workspace_id)
        source = await self._engine.call(self._engine.store.source, found.id)
        return pb.GetWorkspaceResponse(workspace=ws_to_wire.workspace(found, source))

    async def ListWorkspaces(
        self, request: pb.ListWorkspacesRequest, context: Any
    ) -> pb.ListWorkspacesResponse:
        within = current_identity().scope
        after = decode_page_token(_WORKSPACES, request.page_token).text("after") if request.page_token else ""
        page, following = await files.list_workspaces(self._engine, after, request.page_size or 100)
        return pb.ListWorkspacesResponse(
            workspaces=[
                ws_to_wire.workspace(found, source) for found, source in page if covers(within, found.labels)
            ],
            next_page_token=encode_page_token(_WORKSPACES, {"after": following}) if following else "",
        )

    async def ListFiles(self, request: pb.ListFilesRequest, context: Any) -> pb.ListFilesResponse:
        token_tree, after = ws_to_wire.read_files_token(request.page_token)
        tree = await files.tree_of(self._engine, request.workspace_id, request.tree or token_tree)
        page = await files.list_files(
            self._engine, request.workspace_id, tree, request.path, after, request.page_size or 1000
        )
        return pb.ListFilesResponse(
            entries=[ws_to_wire.entry(item.path, item.node) for item in page.paths],
            next_page_token=ws_to_wire.files_token(tree, page.next_after),
            tree=tree,
        )

    async def ReadFile(self, request: pb.ReadFileRequest, context: Any) -> pb.ReadFileResponse:
        tree = await files.tree_of(self._engine, request.workspace_id, request.tree)
        limit = request.limit or 1 << 20
        content, node = await files.read_file(
            self._engine, request.workspace_id, tree, request.path, request.offset, limit
        )
        return pb.ReadFileResponse(
            data=content.data, entry=ws_to_wire.entry(content.path or request.path, node)
        )

    async def DiffTrees(self, request: pb.DiffTreesRequest, context: Any) -> pb.DiffTreesResponse:
        found = await files.diff_trees(
            self._engine, request.workspace_id, request.from_tree, request.to_tree, request.to_workspace_id
        )
        return ws_to_wire.diff_response(*found)

    async def CompareEffects(
        self, request: pb.CompareEffectsRequest, context: Any
    ) -> pb.CompareEffectsResponse:
        earlier, later = ((pair.base_tree, pair.result_tree) for pair in (request.earlier, request.later))
        found = await files.compare_effects(self._engine, request.workspace_id, earlier, later)
        return ws_to_wire.compare_response(found)

    async def ExportTree(
        self, request: export_pb2.ExportTreeRequest, context: Any
    ) -> AsyncIterator[export_pb2.ExportTreeResponse]:
        omissions = Omissions()
        git = request.format == export_pb2.EXPORT_FORMAT_GIT
        pieces = export(self._engine, exports.items(request.items), git=git, omissions=omissions)
        async with aclosing(pieces):
            async for piece in pieces:
                yield export_pb2.ExportTreeResponse(data=piece)
        yield exports.last(omissions)

    async def ListSnapshots(self, request: pb.ListSnapshotsRequest, context: Any) -> pb.ListSnapshotsResponse:
        scope = f"ListSnapshots/{request.workspace_id}"
        before = decode_page_token(scope, request.page_token).integer("before") if request.page_token else 0
        page, following = await files.snapshots(
            self._engine, request.workspace_id, before, request.page_size or 100
        )
        return pb.ListSnapshotsResponse(
            snapshots=[ws_to_wire.snapshot(head) for head in page],
            next_page_token=encode_page_token(scope, {"before": following}) if following else "",
        )

    async def RestoreTree(self, request: pb.RestoreTreeRequest, context: Any) -> pb.RestoreTreeResponse:
        ask = Restore(
            request.request_id,
            request.workspace_id,
            request.tree,
            request.expected_head,
            request.run_id,
            from_wire.caller_of(request),
        )
        answer = await restore(self._engine, ask, ws_to_wire.restored_payload)
        return pb.RestoreTreeResponse.FromString(answer)

    async def RevertTree(self, request: pb.RevertTreeRequest, context: Any) -> pb.RevertTreeResponse:
        ask = RevertTree(
            request.request_id,
            request.workspace_id,
            request.from_tree,
            request.to_tree,
            request.expected_head,
            request.run_id,
            from_wire.caller_of(request),
            request.validate_only,
            tuple((change.from_tree, change.to_tree) for change in request.changes),
            (request.whole.from_tree, request.whole.to_tree) if request.HasField("whole") else None,
        )
        answer = await revert(self._engine, ask, ws_to_wire.reverted_payload)
        return pb.RevertTreeResponse.FromString(answer)

    async def CollectGarbage(
        self, requests: AsyncIterator[pb.CollectGarbageRequest], context: Any
    ) -> pb.CollectGarbageResponse:
        wanted = await gather(self._engine)
        await context.send_initial_metadata(())  # from here on the caller may find out what it wants kept
        await storage_wire.read_wanted(requests, wanted)
        answer = await collect_garbage(self._engine, wanted, storage_wire.collected_payload)
        return pb.CollectGarbageResponse.FromString(answer)

    async def GetStorage(self, request: pb.GetStorageRequest, context: Any) -> pb.GetStorageResponse:
        return storage_wire.storage_response(await storage.storage(self._engine, request.workspace_ids))

    async def GetExecutorInfo(
        self, request: pb.GetExecutorInfoRequest, context: Any
    ) -> pb.GetExecutorInfoResponse:
        return info_to_wire.info_response(
            await self._engine.full_probe(), _version(), self._defaults, HEARTBEAT
        )

    async def _asked(self, request: pb.ProposeRequest | pb.PrepareRequest) -> StepRequest:
        """What is to be computed, with the limits that its workspace allows."""
        allowed: Mapping[str, int] = {}
        if request.action.WhichOneof("kind") == "run_command":
            allowed = await self._engine.call(self._engine.workspaces.limits_of, request.workspace_id)
        return from_wire.step_request(request, self._defaults, allowed)

    async def _record(self, key: pb.EffectKey) -> Record:
        return await output.record(self._engine, from_wire.key_of(key))


@contextmanager
def _span(name: str, key: pb.EffectKey) -> Iterator[None]:
    """A span around a step's call; the step's ids on every line logged in it."""
    attributes = {
        "interlock.run_id": key.run_id,
        "interlock.step": key.step,
        "interlock.attempt": key.attempt,
    }
    with (
        logs.bound(run_id=key.run_id, step=key.step, attempt=key.attempt),
        span(f"executor.{name}", attributes=attributes),
    ):
        yield


def _version() -> str:
    try:
        return importlib.metadata.version("interlock")
    except importlib.metadata.PackageNotFoundError:
        return "unpackaged"
