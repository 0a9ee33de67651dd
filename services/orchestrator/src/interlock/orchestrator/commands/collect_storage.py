"""CollectStorage: have the executor remove what no run refers to."""

from __future__ import annotations

from interlock.orchestrator.clients.collecting import Collection, collect
from interlock.orchestrator.deps import Deps
from interlock.v1 import orchestrator_pb2 as o


async def collect_storage(deps: Deps, message: o.CollectStorageRequest) -> o.CollectStorageResponse:
    """Returns when it is done. The executor answers a repeated `request_id` as the first time."""
    retention = message.retention.ToTimedelta() if message.HasField("retention") else deps.retention
    ask = Collection(retention, message.dry_run, message.request_id)
    return o.CollectStorageResponse(executor=await collect(deps.database, deps.executor, ask))
