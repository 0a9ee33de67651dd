"""Signed statements about the heads of all runs: lists of them, the newest, and those that a run is in."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any, Final

from interlock.common.digests import digest_text
from interlock.common.paging import page_size
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain import anchors as domain
from interlock.orchestrator.store import anchors
from interlock.orchestrator.store.anchors import AnchorRow
from interlock.v1 import journal_pb2
from interlock.v1 import orchestrator_pb2 as o

MOST_IN_A_BUNDLE: Final = 100
"""Anchors in a bundle, the newest: the last one covers all that the ones before do."""


async def list_anchors(deps: Deps, message: o.ListAnchorsRequest) -> o.ListAnchorsResponse:
    """A page of anchors, newest first."""
    size = page_size(message.page_size, default=100, maximum=1000)
    rows = await anchors.listed(deps.database, before=message.before_number, limit=size)
    return o.ListAnchorsResponse(anchors=map(_view, rows))


def newest(deps: Deps) -> journal_pb2.Anchor | None:
    """The last anchor that this process knows of."""
    row = deps.anchorer.newest if deps.anchorer is not None else None
    return _view(row) if row is not None else None


async def lines(deps: Deps, run_id: str, length: int) -> AsyncIterator[dict[str, Any]]:
    """A bundle's lines about the anchors that the first `length` events of a run are in."""
    for row, leaf in await anchors.of_run(deps.database, run_id, MOST_IN_A_BUNDLE):
        heads = await anchors.leaves(deps.database, row.number)
        head = heads[leaf]
        if head.seq > length:
            return
        path = domain.path([domain.leaf(*each) for each in heads], leaf)
        yield {
            "anchor": base64.b64encode(row.statement).decode(),
            "signature": base64.b64encode(row.signature).decode(),
            "seq": head.seq,
            "head": digest_text(head.head),
            "leaf": leaf,
            "path": [digest_text(each) for each in path],
        }


def _view(row: AnchorRow) -> journal_pb2.Anchor:
    message = journal_pb2.Anchor(
        number=row.number,
        position=row.position,
        heads=row.heads,
        root=digest_text(row.root),
        statement=row.statement,
        digest=domain.digest(row.statement),
        key_id=row.key_id,
        signature=row.signature,
    )
    message.at.FromDatetime(row.at)
    return message
