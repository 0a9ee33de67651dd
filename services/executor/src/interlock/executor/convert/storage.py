"""From and to the wire: garbage collection, and what is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.executor.commands.collect_garbage import Collection, Wanted
from interlock.executor.convert.text import wire
from interlock.executor.queries.storage import Storage, WorkspaceUse
from interlock.v1 import executor_pb2 as pb

_LONGEST_DAYS: Final = 36_500


async def read_wanted(requests: AsyncIterator[pb.CollectGarbageRequest], wanted: Wanted) -> Wanted:
    """Everything a caller names. Raises INVALID_ARGUMENT where the last message is missing: nothing may go then.

    So it does for a retention of more than 36,500 days.
    """
    first, complete = True, False
    async for message in requests:
        if first:
            first = False
            wanted.request_id, wanted.dry_run = message.request_id, message.dry_run
            if message.HasField("retention"):
                wanted.history = _history(message)
        wanted.add(list(message.workspace_ids), list(message.trees), list(message.run_ids))
        complete = message.last
    if not complete:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            "The stream ended before everything to keep was named. Nothing was removed.",
            field="last",
            fix="Set `last` in the last message.",
        )
    return wanted


def _history(message: pb.CollectGarbageRequest) -> timedelta:
    if message.retention.seconds > _LONGEST_DAYS * 86_400:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"History can be kept {_LONGEST_DAYS:,} days at most.",
            field="retention",
            fix="Ask for less; leave it out for the executor's own.",
        )
    return timedelta(seconds=message.retention.seconds)


def collected_payload(done: Collection) -> bytes:
    """The answer to CollectGarbage, to be kept and sent."""
    swept, pruned = done.collected
    return pb.CollectGarbageResponse(
        objects_removed=swept.removed,
        bytes_freed=swept.freed,
        objects_kept=swept.kept,
        bytes_kept=swept.bytes_kept,
        trees_removed=pruned.trees,
        history_removed=pruned.heads,
        effects_removed=done.effects,
        dry_run=done.dry_run,
    ).SerializeToString()


def storage_response(found: Storage) -> pb.GetStorageResponse:
    """What is stored."""
    return pb.GetStorageResponse(
        workspaces=[_use(each) for each in found.workspaces],
        objects=found.store.objects,
        store_bytes=found.store.disk_bytes,
        content_bytes=found.store.content_bytes,
        store_max_bytes=found.max_bytes,
        disk_free_bytes=found.disk_free,
        unreferenced_bytes=found.unreferenced,
        records_bytes=found.records,
    )


def _use(use: WorkspaceUse) -> pb.WorkspaceStorage:
    here = use.workspace
    return pb.WorkspaceStorage(
        workspace_id=here.id,
        path=wire(str(here.live)),
        entries=here.entries,
        live_bytes=here.content_bytes,
        base_bytes=use.base_bytes,
        fork_bytes=use.fork_bytes,
        exclusive_bytes=use.exclusive,
        shared_bytes=use.shared,
        previews_pending=use.previews,
        trees_kept=use.trees,
    )
