"""A scripted Executor: a fake, and it says so. It keeps one tree per workspace and computes trees by hashing.

It stands in where a test is about the orchestrator: what it journals, when it calls, what survives. Whatever is
about files, sandboxes and trees is tested with the real executor.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from interlock.common.digests import sha256_text
from interlock.common.errors import InterlockError, Reason
from interlock.common.status import to_status
from interlock.v1 import executor_pb2 as x
from interlock.v1 import executor_pb2_grpc, step_pb2, workspace_pb2

Key = tuple[str, int, int]


def digest(*parts: object) -> str:
    """A digest that depends on the parts alone."""
    return "sha256:" + hashlib.sha256(repr(parts).encode()).hexdigest()


BASE = digest("base")


@dataclass
class Script:
    """What the fake does, and what was asked of it.

    `failures` fail a step in its fork, `errors` end a call with an error (given key and kind of call), and
    `hold` makes calls of a kind wait for its event. `owners` has the digest that each effect was prepared with
    (to be changed by tests in which someone else was first), `drivers` the secret that each run was driven with.
    """

    heads: dict[str, str] = field(default_factory=dict)
    calls: list[tuple[str, Key]] = field(default_factory=list)
    applied: dict[Key, str] = field(default_factory=dict)
    prepared: dict[Key, x.PrepareResponse] = field(default_factory=dict)
    failures: dict[int, step_pb2.StepFailure] = field(default_factory=dict)
    errors: Callable[[str, Key], InterlockError | None] = lambda kind, key: None
    hold: dict[str, asyncio.Event] = field(default_factory=dict)
    discarded: set[Key] = field(default_factory=set)
    owners: dict[Key, str] = field(default_factory=dict)
    drivers: dict[str, bytes] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)

    def count(self, kind: str) -> int:
        """How often this kind of call was made."""
        return sum(called == kind for called, _ in self.calls)


class ScriptedExecutor(executor_pb2_grpc.ExecutorServicer):
    """Handlers of the calls that the orchestrator makes."""

    def __init__(self, script: Script) -> None:
        self.script = script

    def head(self, workspace_id: str) -> str:
        return self.script.heads.setdefault(workspace_id, BASE)

    async def GetWorkspace(self, request: x.GetWorkspaceRequest, context: Any) -> x.GetWorkspaceResponse:
        if request.workspace_id in self.script.missing:
            raise InterlockError(
                Reason.WORKSPACE_NOT_FOUND, "There is no such workspace.", field="workspace_id"
            )
        workspace = workspace_pb2.Workspace(
            workspace_id=request.workspace_id,
            path=f"/fake/{request.workspace_id}",
            head_tree=self.head(request.workspace_id),
            labels=self.script.labels.get(request.workspace_id, {}),
        )
        return x.GetWorkspaceResponse(workspace=workspace)

    async def ListFiles(self, request: x.ListFilesRequest, context: Any) -> x.ListFilesResponse:
        entry = workspace_pb2.FileEntry(path="a.txt", type=workspace_pb2.FILE_TYPE_REGULAR, size=3)
        return x.ListFilesResponse(entries=[entry], tree=self.head(request.workspace_id))

    async def ReadFile(self, request: x.ReadFileRequest, context: Any) -> x.ReadFileResponse:
        return x.ReadFileResponse(data=b"abc")

    async def DiffTrees(self, request: x.DiffTreesRequest, context: Any) -> x.DiffTreesResponse:
        change = step_pb2.FileChange(path="a.txt", kind=step_pb2.CHANGE_KIND_MODIFIED)
        return x.DiffTreesResponse(from_tree=request.from_tree, to_tree=request.to_tree, changes=[change])

    async def CompareEffects(
        self, request: x.CompareEffectsRequest, context: Any
    ) -> x.CompareEffectsResponse:
        return x.CompareEffectsResponse()

    async def RestoreTree(self, request: x.RestoreTreeRequest, context: Any) -> x.RestoreTreeResponse:
        key = (request.run_id, 0, 0)
        self.script.calls.append(("restore", key))
        self._drive(request.run_id, request.driver_key)
        if (error := self.script.errors("restore", key)) is not None:
            raise error
        previous = self.head(request.workspace_id)
        self.script.heads[request.workspace_id] = request.tree
        return x.RestoreTreeResponse(head_tree=request.tree, previous_tree=previous)

    async def RevertTree(self, request: x.RevertTreeRequest, context: Any) -> x.RevertTreeResponse:
        key = (request.run_id, 0, 0)
        kind = "restore" if request.HasField("whole") else "revert"
        self.script.calls.append((kind, key))
        if kind == "restore":
            self._drive(request.run_id, request.driver_key)
        if (error := self.script.errors(kind, key)) is not None:
            raise error
        previous = self.head(request.workspace_id)
        head = digest("revert", previous, request.from_tree)
        alone = kind == "restore" and previous == request.whole.from_tree
        if alone:
            head = request.whole.to_tree
        if not request.validate_only:
            self.script.heads[request.workspace_id] = head
        change = step_pb2.FileChange(path="a.txt", kind=step_pb2.CHANGE_KIND_MODIFIED)
        return x.RevertTreeResponse(
            head_tree=head, previous_tree=previous, changes=[change], merged=not alone
        )

    async def StreamOutput(
        self, request: x.StreamOutputRequest, context: Any
    ) -> AsyncIterator[x.StreamOutputResponse]:
        chunk = step_pb2.OutputChunk(
            run_id=request.key.run_id,
            step=request.key.step,
            attempt=request.key.attempt,
            stream=step_pb2.OUTPUT_STREAM_STDOUT,
            data=b"live\n",
        )
        yield x.StreamOutputResponse(chunk=chunk)

    async def Session(
        self, requests: AsyncIterator[x.SessionRequest], context: Any
    ) -> AsyncIterator[x.SessionResponse]:
        answers: asyncio.Queue[x.SessionResult] = asyncio.Queue()
        tasks: set[asyncio.Task[None]] = set()

        async def read() -> None:
            async for frame in requests:
                for item in frame.items:
                    task = asyncio.create_task(self._answer(item, answers))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)

        reader = asyncio.create_task(read())
        try:
            while True:
                yield x.SessionResponse(results=[await answers.get()])
        finally:
            for task in (reader, *tasks):
                task.cancel()
            await asyncio.gather(reader, *tasks, return_exceptions=True)

    async def _answer(self, item: x.SessionItem, answers: asyncio.Queue[x.SessionResult]) -> None:
        kind = str(item.WhichOneof("call"))
        request = getattr(item, kind)
        key = (request.key.run_id, request.key.step, request.key.attempt)
        self.script.calls.append((kind, key))
        if kind in self.script.hold:
            await self.script.hold[kind].wait()
        error = self.script.errors(kind, key)
        if error is None:
            try:
                self._drive(request.key.run_id, request.driver_key)
                await answers.put(
                    x.SessionResult(id=item.id, **{kind: getattr(self, f"_{kind}")(request, key)})
                )
                return
            except InterlockError as refused:
                error = refused
        await answers.put(x.SessionResult(id=item.id, error=to_status(error)))

    def _propose(self, request: x.ProposeRequest, key: Key) -> x.ProposeResponse:
        return x.ProposeResponse(effect=self._facts(request, key))

    def _prepare(self, request: x.PrepareRequest, key: Key) -> x.PrepareResponse:
        self._owned(
            key, self.script.owners.setdefault(key, request.owner_key_digest), request.owner_key_digest
        )
        if key in self.script.discarded:
            raise InterlockError(Reason.EFFECT_DISCARDED, "The effect was thrown away.")
        if key in self.script.prepared:
            return self.script.prepared[key]
        effect = self._facts(request, key)
        if request.expected_request_digest not in ("", effect.request_digest):
            raise InterlockError(Reason.EFFECT_DIGEST_MISMATCH, "Something else would run.")
        effect.result_tree = effect.base_tree
        if request.action.WhichOneof("kind") != "read_file":
            effect.result_tree = digest("tree", effect.base_tree, key)
            effect.diff = f"--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\n+{key[1]}\n"
        effect.exit_code = 0
        effect.effect_digest = digest("effect", effect.request_digest, effect.result_tree)
        response = x.PrepareResponse(state=x.EFFECT_STATE_PREPARED, effect=effect)
        if (failure := self.script.failures.get(key[1])) is not None:
            effect.result_tree = effect.base_tree
            response = x.PrepareResponse(state=x.EFFECT_STATE_FAILED, effect=effect, failure=failure)
        self.script.prepared[key] = response
        return response

    def _apply(self, request: x.ApplyRequest, key: Key) -> x.ApplyResponse:
        shown = sha256_text(request.owner_key)
        self._owned(key, self.script.owners[key] or shown, shown)
        prepared = self.script.prepared[key].effect
        if request.effect_digest != prepared.effect_digest:
            raise InterlockError(Reason.EFFECT_DIGEST_MISMATCH, "Another effect was prepared.")
        if request.approved_digest not in (prepared.effect_digest, prepared.request_digest):
            raise InterlockError(Reason.APPROVAL_REQUIRED, "The digest approved is another one.")
        if key not in self.script.applied:
            self.script.applied[key] = prepared.result_tree
            for workspace_id, head in self.script.heads.items():
                if head == prepared.base_tree:
                    self.script.heads[workspace_id] = prepared.result_tree
        return x.ApplyResponse(head_tree=prepared.result_tree)

    def _discard(self, request: x.DiscardRequest, key: Key) -> x.DiscardResponse:
        shown = sha256_text(request.owner_key)
        self._owned(key, self.script.owners.setdefault(key, shown) or shown, shown)
        self.script.discarded.add(key)
        if (held := self.script.hold.get("prepare")) is not None:
            held.set()
        return x.DiscardResponse(state=x.EFFECT_STATE_DISCARDED)

    def _owned(self, key: Key, owner: str, shown: str) -> None:
        if owner != shown:
            raise InterlockError(Reason.EFFECT_NOT_OWNED, f"Attempt {key} is someone else's.")

    def _drive(self, run_id: str, key: bytes) -> None:
        if not key or self.script.drivers.setdefault(run_id, key) != key:
            raise InterlockError(Reason.EFFECT_NOT_OWNED, f"Run {run_id} is driven by someone else.")

    def _facts(self, request: Any, key: Key) -> step_pb2.Effect:
        base = self.head(request.workspace_id)
        return step_pb2.Effect(
            base_tree=base, request_digest=digest("request", base, request.action.SerializeToString(), key)
        )
