"""CollectStorage: have the executor remove what no run refers to."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.clients.collecting import Collection, collect_all
from interlock.orchestrator.deps import Deps
from interlock.v1 import orchestrator_pb2 as o

LONGEST_DAYS: Final = 36_500
"""The longest retention that may be asked for: a century, far from where arithmetic with dates ends."""


async def collect_storage(deps: Deps, message: o.CollectStorageRequest) -> o.CollectStorageResponse:
    """Returns when it is done. The executor answers a repeated `request_id` as the first time.

    Raises INVALID_ARGUMENT for a retention of more than 36,500 days.
    """
    ask = Collection(_retention(deps, message), message.dry_run, message.request_id)
    return o.CollectStorageResponse(executor=await collect_all(deps.database, deps.executor, ask))


def _retention(deps: Deps, message: o.CollectStorageRequest) -> timedelta:
    if not message.HasField("retention"):
        return deps.retention
    if message.retention.seconds > LONGEST_DAYS * 86_400:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"Ended runs can be kept {LONGEST_DAYS:,} days at most.",
            field="retention",
            fix="Ask for less; leave it out for what is configured.",
        )
    return message.retention.ToTimedelta()
