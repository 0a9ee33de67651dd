"""A workspace to carry out steps in again: made of a recorded tree, moved on by what comes out, removed at the end."""

from __future__ import annotations

from types import TracebackType

from interlock.common import logs
from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.store.readers import others
from interlock.v1 import executor_pb2, step_pb2, workspace_pb2

_SECONDS = 600.0
_log = logs.get("replay")


class Scratch:
    """One workspace at a time; an asynchronous context manager.

    Args:
        workspace_id: whose trees the steps stood on. It is not changed.
    """

    def __init__(self, deps: Deps, workspace_id: str) -> None:
        self._deps = deps
        self._source = workspace_id
        self._name = deps.ids.new("replay")
        self._made = 0
        self.workspace_id = ""
        self._head = ""

    async def __aenter__(self) -> Scratch:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._remove()

    async def at(self, tree: str) -> None:
        """Has the workspace at a tree. Raises TREE_NOT_FOUND, WORKSPACE_NOT_FOUND, UNAVAILABLE."""
        if self._head == tree:
            return
        await self._remove()
        self._made += 1
        source = workspace_pb2.TreeSource(workspace_id=self._source, tree=tree)
        request = executor_pb2.CreateWorkspaceRequest(
            request_id=f"{self._name}/{self._made}",
            source=workspace_pb2.WorkspaceSource(tree=source),
            labels=await others.workspace_labels(self._deps.database, self._source),
        )
        executor = await self._deps.executor.at(self._source)
        with rpc_errors("executor"):
            made = await executor.stub.CreateWorkspace(request, timeout=_SECONDS)
        self.workspace_id, self._head = made.workspace.workspace_id, tree

    async def carry_out(
        self, step: int, action: executor_pb2.Action, limits: step_pb2.Limits, *, network: bool
    ) -> executor_pb2.PrepareResponse:
        """Computes the step's effect here, and publishes it here alone."""
        key = executor_pb2.EffectKey(run_id=self._name, step=step, attempt=self._made)
        here = self.workspace_id
        executor = await self._deps.executor.at(self._source)  # it was made there
        request = executor_pb2.PrepareRequest(key=key, workspace_id=here, action=action, limits=limits)
        if network:  # such a command runs only when what will run was named before
            ask = executor_pb2.ProposeRequest(key=key, workspace_id=here, action=action, limits=limits)
            proposed = await executor.step("propose", ask)
            request.expected_request_digest = proposed.effect.request_digest
        done: executor_pb2.PrepareResponse = await executor.step("prepare", request)
        effect = done.effect
        if done.HasField("failure") or not effect.effect_digest:
            return done
        digest = request.expected_request_digest or effect.effect_digest
        apply = executor_pb2.ApplyRequest(key=key, effect_digest=effect.effect_digest, approved_digest=digest)
        self._head = (await executor.step("apply", apply)).head_tree
        return done

    async def _remove(self) -> None:
        if not self.workspace_id:
            return
        request = executor_pb2.ForgetWorkspaceRequest(
            request_id=f"{self._name}/{self._made}/gone",
            workspace_id=self.workspace_id,
            delete_directory=True,
        )
        try:
            executor = await self._deps.executor.at(self._source)
            with rpc_errors("executor"):
                await executor.stub.ForgetWorkspace(request, timeout=_SECONDS)
        except InterlockError as error:
            _log.warning(
                "a workspace was left over", workspace_id=self.workspace_id, reason=error.reason.value
            )
        self.workspace_id = self._head = ""
