"""The journal of a run: pages of events."""

from __future__ import annotations

import json

from interlock.common.paging import decode_page_token, encode_page_token, page_size
from interlock.orchestrator.convert import views
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.store.readers import events, runs
from interlock.orchestrator.store.records import FeedRow
from interlock.v1 import journal_pb2
from interlock.v1 import orchestrator_pb2 as o


async def list_events(deps: Deps, message: o.ListEventsRequest) -> o.ListEventsResponse:
    """A page of events by seq."""
    await runs.get(deps.database, message.run_id)
    scope = f"ListEvents/{message.run_id}"
    after = message.after_seq
    if message.page_token:
        after = decode_page_token(scope, message.page_token).integer("after")
    size = page_size(message.page_size, default=100, maximum=1000)
    rows = await events.of_run(deps.database, message.run_id, after, size)
    token = encode_page_token(scope, {"after": rows[-1].seq}) if len(rows) == size else ""
    return o.ListEventsResponse(events=[event_view(row) for row in rows], next_page_token=token)


def event_view(row: FeedRow) -> journal_pb2.JournalEvent:
    """A stored event; `prev` is read from its canonical bytes."""
    return views.event(row, str(json.loads(row.canonical)["prev"]))
