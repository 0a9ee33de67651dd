"""An executor whose work is trivial: the real session, server, authentication and digests, without sandbox and files.

What a step does is to be as little as it is with the other engines, so that the engine is measured. Results are kept
by (run, step, attempt) and given again to whoever repeats a call, as the real executor does from its record.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from meter import effect as visible

from interlock.common.config import load_token
from interlock.common.digests import digest_json
from interlock.common.server import ServerSpec, serve
from interlock.executor.session import run_session
from interlock.v1 import executor_pb2 as x
from interlock.v1 import executor_pb2_grpc, step_pb2, workspace_pb2

BASE = "sha256:" + "b" * 64
KILOBYTE = "grow"
Key = tuple[str, int, int]


class Trivial(executor_pb2_grpc.ExecutorServicer):
    """Answers at once, or after BENCH_PAUSE seconds with a line in the file of effects."""

    def __init__(self) -> None:
        self._prepared: dict[Key, asyncio.Task[x.PrepareResponse]] = {}
        self._pause = float(os.environ.get("BENCH_PAUSE", "0"))
        self._draining = asyncio.Event()

    async def GetWorkspace(self, request: x.GetWorkspaceRequest, context: Any) -> x.GetWorkspaceResponse:
        path = f"/nowhere/{request.workspace_id}"
        found = workspace_pb2.Workspace(workspace_id=request.workspace_id, path=path, head_tree=BASE)
        return x.GetWorkspaceResponse(workspace=found)

    async def Session(
        self, requests: AsyncIterator[x.SessionRequest], context: Any
    ) -> AsyncIterator[x.SessionResponse]:
        async for frame in run_session(self, requests, 10.0, self._draining):
            yield frame

    async def Prepare(self, request: x.PrepareRequest, context: Any) -> x.PrepareResponse:
        key = (request.key.run_id, request.key.step, request.key.attempt)
        known = self._prepared.get(key)
        if known is None:
            known = self._prepared[key] = asyncio.create_task(self._work(request))
        return await asyncio.shield(known)  # a caller that goes away does not end what was begun

    async def _work(self, request: x.PrepareRequest) -> x.PrepareResponse:
        if self._pause:
            visible(request.key.run_id, request.key.step)
            await asyncio.sleep(self._pause)
        return _prepared(request)

    async def Apply(self, request: x.ApplyRequest, context: Any) -> x.ApplyResponse:
        key = (request.key.run_id, request.key.step, request.key.attempt)
        return x.ApplyResponse(head_tree=self._prepared[key].result().effect.result_tree)

    async def Discard(self, request: x.DiscardRequest, context: Any) -> x.DiscardResponse:
        return x.DiscardResponse(state=x.EFFECT_STATE_DISCARDED)


def _prepared(request: x.PrepareRequest) -> x.PrepareResponse:
    effect = step_pb2.Effect(base_tree=BASE, result_tree=BASE, exit_code=0)
    asked = {
        "run": request.key.run_id,
        "step": request.key.step,
        "attempt": request.key.attempt,
        "kind": str(request.action.WhichOneof("kind")),
        "base": BASE,
    }
    effect.request_digest = digest_json(asked, "interlock.bench.request")
    if request.action.WhichOneof("kind") == "edit_file":
        effect.result_tree = digest_json(asked, "interlock.bench.tree")
        effect.diff = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\n+y\n"
    content = os.urandom(512).hex().encode() if request.action.read_file.path == KILOBYTE else b"1"
    effect.content.head = content
    effect.content.total_bytes = len(content)
    asked["content"] = content.decode()
    effect.effect_digest = digest_json(asked, "interlock.bench.effect")
    return x.PrepareResponse(state=x.EFFECT_STATE_PREPARED, effect=effect)


async def main() -> None:
    """Serves until SIGTERM; argv: the file that gets the address."""
    add = executor_pb2_grpc.add_ExecutorServicer_to_server
    served = [(Trivial(), add, "interlock.v1.Executor")]
    await serve(ServerSpec("executor", "127.0.0.1:0", served, load_token(), ready_file=Path(sys.argv[1])))


if __name__ == "__main__":
    asyncio.run(main())
