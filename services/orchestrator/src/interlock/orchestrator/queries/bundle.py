"""A run's journal as a bundle that can be verified offline. Format: docs/journal-format.md."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

from interlock.common.digests import digest_bytes
from interlock.orchestrator.convert.salted import references
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain.anchors import head_message
from interlock.orchestrator.domain.model import ZERO_DIGEST
from interlock.orchestrator.queries import anchors
from interlock.orchestrator.runs.book import ERASED
from interlock.orchestrator.store.readers import events, others, runs
from interlock.v1 import orchestrator_pb2 as o

_PAGE = 500
_CHUNK = 256 * 1024


async def export(
    deps: Deps, message: o.ExportJournalRequest
) -> AsyncGenerator[o.ExportJournalResponse, None]:
    """The bundle as JSON lines: a header, the events, the payloads they refer to, an end line."""
    row = await runs.get(deps.database, message.run_id)
    if not row.seq:
        await deps.book.refresh(message.run_id)  # says that it was archived
    lines, buffer, before = 0, bytearray(), hashlib.sha256()
    head = "sha256:" + row.head_hash.hex() if row.seq else ZERO_DIGEST
    proofs = await _proofs(deps, message.run_id, row.seq, head)
    newer = proofs or await events.has(deps.database, message.run_id, ERASED, row.seq)
    header = _header(message.run_id, row.seq, head, version=2 if newer else 1)
    async for line in _lines(deps, header, proofs):
        lines += 1
        raw = _json(line)
        before.update(raw)
        buffer += raw
        while len(buffer) >= _CHUNK:
            yield o.ExportJournalResponse(data=bytes(buffer[:_CHUNK]))
            del buffer[:_CHUNK]
    digest = {"digest": "sha256:" + before.hexdigest()} if header["version"] == 2 else {}
    buffer += _json({"end": True, "lines": lines + 1, **digest})
    for at in range(0, len(buffer), _CHUNK):
        yield o.ExportJournalResponse(data=bytes(buffer[at : at + _CHUNK]))


async def _proofs(deps: Deps, run_id: str, length: int, head: str) -> list[dict[str, Any]]:
    """Anchors and the signature of the head, as far as there are any."""
    found = [line async for line in anchors.lines(deps, run_id, length)]
    if (key := deps.journal_key) is not None:
        signature = key.sign(head_message(run_id, length, head, key.key_id))
        found.append({"signature": base64.b64encode(signature).decode(), "key": key.key_id})
    return found


def _header(run_id: str, length: int, head: str, *, version: int) -> dict[str, Any]:
    """The first line. A journal that has nothing a reader of version 1 does not know is written as version 1."""
    return {
        "bundle": "interlock-journal",
        "version": version,
        "run_id": run_id,
        "events": length,
        "head": head,
    }


async def _lines(
    deps: Deps, header: dict[str, Any], proofs: Sequence[dict[str, Any]]
) -> AsyncIterator[dict[str, Any]]:
    yield header
    run_id, length = header["run_id"], header["events"]
    referred: dict[str, None] = {}
    erased: dict[str, int] = {}
    seq = 0
    while seq < length:
        for row in await events.of_run(deps.database, run_id, seq, min(_PAGE, length - seq)):
            seq = row.seq
            data = json.loads(row.canonical)["data"]
            referred.update(dict.fromkeys(digest for _, digest in references(data)))
            if row.type == ERASED:
                erased = {**dict.fromkeys(data["erased"], seq), **erased}
            yield {"event": base64.b64encode(row.canonical).decode()}
    for reference in referred:
        if reference in erased:
            yield {"erased": reference, "event": erased[reference]}
            continue
        kept = await others.payload(deps.database, digest_bytes(reference))
        if kept is not None:
            yield {
                "payload": reference,
                "media_type": kept.media_type,
                "data": base64.b64encode(kept.body).decode(),
            }
    for proof in proofs:
        yield proof


def _json(line: dict[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":"), sort_keys=False).encode() + b"\n"
