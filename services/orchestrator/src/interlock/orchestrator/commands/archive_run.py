"""ArchiveRun: a run that has ended leaves the database, as the bundle that its caller keeps."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from interlock.common.digests import digest_bytes
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import current_identity
from interlock.orchestrator.convert.salted import references
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain.model import RUN_FINAL, Run
from interlock.orchestrator.queries import bundle
from interlock.orchestrator.queries.runs import get_run
from interlock.orchestrator.store import archives, sharing
from interlock.orchestrator.store.archives import ArchiveRow
from interlock.orchestrator.store.readers import events
from interlock.v1 import orchestrator_pb2 as o

_PAGE: Final = 500


async def archive_run(deps: Deps, message: o.ArchiveRunRequest) -> o.ArchiveRunResponse:
    """Raises RUN_NOT_FOUND, RUN_WRONG_STATE, RUN_CONFLICT."""
    wanted = digest_bytes(message.bundle_digest)
    known = (await archives.of(deps.database, [message.run_id])).get(message.run_id)
    if known is None:
        await _archive(deps, message, wanted)
    elif known.bundle != wanted:
        raise _another(message, "sha256:" + known.bundle.hex())
    found = await get_run(deps, o.GetRunRequest(run_id=message.run_id, without_steps=True))
    return o.ArchiveRunResponse(run=found.run)


async def _archive(deps: Deps, message: o.ArchiveRunRequest, wanted: bytes) -> None:
    run = await deps.book.refresh(message.run_id)
    _check(deps, run)
    made = hashlib.sha256()
    async for part in bundle.export(deps, o.ExportJournalRequest(run_id=run.run_id)):
        made.update(part.data)
    if made.digest() != wanted:
        raise _another(message, "sha256:" + made.hexdigest())
    alone = await _alone(deps, run)
    by = current_identity().subject
    head = digest_bytes(run.head)
    row = ArchiveRow(run.run_id, run.seq, head, wanted, message.place, deps.clock.now(), by)
    if not await archives.take_out(deps.database, row, alone):
        raise _another(message, "")
    deps.book.forget(run.run_id)
    deps.asked.forget(run.run_id)


def _check(deps: Deps, run: Run) -> None:
    age = deps.clock.now() - run.updated_at
    if run.state in RUN_FINAL and age >= deps.reach.age:
        return
    why = f"it ended only {age} ago" if run.state in RUN_FINAL else f"it is {run.state.value}"
    raise InterlockError(
        Reason.RUN_WRONG_STATE,
        f"{run.run_id} cannot be archived: {why}.",
        field="run_id",
        fix=f"Runs can be archived {deps.reach.age} after they have ended (INTERLOCK_FEED_RETENTION_HOURS): until then "
        "followers of the feed may come back for what happened to them.",
        metadata={"current": run.state.value},
    )


async def _alone(deps: Deps, run: Run) -> list[bytes]:
    """The payloads that no other run refers to."""
    named: dict[str, None] = {}
    after = 0
    while rows := await events.of_run(deps.database, run.run_id, after, _PAGE):
        after = rows[-1].seq
        for row in rows:
            named.update(dict.fromkeys(d for _, d in references(json.loads(row.canonical)["data"])))
    ancestors = [run.fork.run_id] if run.fork else []
    shared = await sharing.shared(deps.database, run.run_id, list(named), ancestors)
    others = {digest for each in shared.values() for digest in each}
    return await archives.salted(deps.database, [digest_bytes(d) for d in named if d not in others])


def _another(message: o.ArchiveRunRequest, there: str) -> InterlockError:
    is_ = f"; it is {there}" if there else ", and something happened to it meanwhile"
    return InterlockError(
        Reason.RUN_CONFLICT,
        f"{message.bundle_digest} is not the bundle of {message.run_id}{is_}.",
        field="bundle_digest",
        fix="Export it again, verify it, and archive with that one's digest.",
        metadata={"run_id": message.run_id, "bundle_digest": there},
    )
