"""The journal of a run: pages of events, and the bundle that can be verified offline."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

from interlock.common.digests import digest_bytes, is_digest
from interlock.common.paging import decode_page_token, encode_page_token, page_size
from interlock.orchestrator.convert import views
from interlock.orchestrator.convert.texts import SUFFIX
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain.model import ZERO_DIGEST
from interlock.orchestrator.store.readers import events, others, runs
from interlock.orchestrator.store.records import FeedRow
from interlock.v1 import journal_pb2
from interlock.v1 import orchestrator_pb2 as o

_PAGE = 500
_CHUNK = 256 * 1024
_NAMES_OF_PEOPLE = frozenset({"env", "labels", "metadata"})


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


async def export(
    deps: Deps, message: o.ExportJournalRequest
) -> AsyncGenerator[o.ExportJournalResponse, None]:
    """The bundle as JSON lines: a header, the events, the payloads they refer to, an end line."""
    head = await runs.get(deps.database, message.run_id)
    lines, buffer = 0, bytearray()
    async for line in _lines(deps, message.run_id, head.seq, "sha256:" + head.head_hash.hex()):
        lines += 1
        buffer += _json(line)
        while len(buffer) >= _CHUNK:
            yield o.ExportJournalResponse(data=bytes(buffer[:_CHUNK]))
            del buffer[:_CHUNK]
    buffer += _json({"end": True, "lines": lines + 1})
    for at in range(0, len(buffer), _CHUNK):
        yield o.ExportJournalResponse(data=bytes(buffer[at : at + _CHUNK]))


async def _lines(deps: Deps, run_id: str, length: int, digest: str) -> AsyncIterator[dict[str, Any]]:
    yield {
        "bundle": "interlock-journal",
        "version": 1,
        "run_id": run_id,
        "events": length,
        "head": digest if length else ZERO_DIGEST,
    }
    referred: dict[str, None] = {}
    seq = 0
    while seq < length:
        for row in await events.of_run(deps.database, run_id, seq, min(_PAGE, length - seq)):
            seq = row.seq
            referred.update(dict.fromkeys(_references(json.loads(row.canonical)["data"])))
            yield {"event": base64.b64encode(row.canonical).decode()}
    for reference in referred:
        kept = await others.payload(deps.database, digest_bytes(reference))
        if kept is not None:
            yield {
                "payload": reference,
                "media_type": kept.media_type,
                "data": base64.b64encode(kept.body).decode(),
            }


def _references(data: Any) -> Iterator[str]:
    """Digests of the payloads that an event's data refers to, wherever they stand in it.

    Names in `env`, `labels` and `metadata` are people's own, whatever they end in (docs/journal-format.md).
    """
    if isinstance(data, list):
        for item in data:
            yield from _references(item)
    elif isinstance(data, dict):
        for key, value in data.items():
            if key.endswith(SUFFIX) and isinstance(value, str) and is_digest(value):
                yield value
            elif key not in _NAMES_OF_PEOPLE:
                yield from _references(value)


def _json(line: dict[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":"), sort_keys=False).encode() + b"\n"
