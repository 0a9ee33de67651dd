"""EraseFromRun: texts and payloads go for good, and the journal says that they did."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from interlock.common.digests import digest_bytes, digest_text, is_digest
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import current_identity
from interlock.orchestrator.convert import approvals as convert
from interlock.orchestrator.convert.salted import ERASED, references
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.model import RUN_FINAL, Run
from interlock.orchestrator.store import sharing
from interlock.orchestrator.store.readers import approvals, events, others
from interlock.orchestrator.store.records import ApprovalUpsert
from interlock.v1 import orchestrator_pb2 as o

_PAGE: Final = 500
_IN_AN_EVENT: Final = 1000
_TITLE: Final = 16
"""Shortest beginning of a text that is taken for it: titles are cut."""

Named = list[tuple[int, str, str]]
"""Seq, name and digest of everything that the run's events have beside them."""


async def erase(deps: Deps, message: o.EraseFromRunRequest) -> o.EraseFromRunResponse:
    """Raises RUN_NOT_FOUND, RUN_WRONG_STATE, INVALID_ARGUMENT."""
    run = _ended(await deps.book.refresh(message.run_id))
    wanted = _chosen(message, await _named(deps, message.run_id))
    digests = await _present(deps, wanted)
    if not digests:
        return o.EraseFromRunResponse()
    shared = await sharing.shared(deps.database, run.run_id, digests, await _ancestors(deps, run))
    said: dict[str, list[e.Event]] = {}
    rows: dict[str, list[ApprovalUpsert]] = {}
    texts = [body.decode(errors="replace") for body in (await deps.payloads.get(digests)).values()]
    for run_id, theirs in {run.run_id: digests, **shared}.items():
        _ended(await deps.book.refresh(run_id))
        said[run_id] = list(_events(theirs, message.reason))
        rows[run_id] = await _approvals(deps, run_id, texts)
    await deps.transactions.together(said, rows)
    deps.payloads.forget(digests)
    deps.told.clear()
    for run_id in said:
        deps.book.forget(run_id)
        deps.asked.forget(run_id)
    return o.EraseFromRunResponse(erased=digests, run_ids=said)


def _ended(run: Run) -> Run:
    if run.state in RUN_FINAL:
        return run
    raise InterlockError(
        Reason.RUN_WRONG_STATE,
        f"Nothing can be erased from {run.run_id} while it is {run.state.value}.",
        field="run_id",
        fix=f"Let it end (`interlock run wait {run.run_id}`), or end it: `interlock run cancel {run.run_id}`.",
        metadata={"current": run.state.value, "allowed": ", ".join(sorted(s.value for s in RUN_FINAL))},
    )


async def _named(deps: Deps, run_id: str) -> Named:
    found: Named = []
    after = 0
    while rows := await events.of_run(deps.database, run_id, after, _PAGE):
        after = rows[-1].seq
        for row in rows:
            data = json.loads(row.canonical)["data"]
            found.extend((row.seq, name, digest) for name, digest in references(data))
    return found


def _chosen(message: o.EraseFromRunRequest, named: Named) -> list[str]:
    """The digests that are meant, each once. Raises INVALID_ARGUMENT for what the run has not."""
    if message.everything:
        return list(dict.fromkeys(digest for _, _, digest in named))
    found: dict[str, None] = {}
    for field in message.fields:
        seq, _, name = field.rpartition(":")
        meant = [d for at, known, d in named if known == name and seq in ("", str(at))]
        if not meant:
            names = ", ".join(sorted({known for _, known, _ in named}))
            raise _unknown(
                "fields", f"{message.run_id} has no field {field} to erase; it has {names or 'none'}."
            )
        found.update(dict.fromkeys(meant))
    known_digests = {digest for _, _, digest in named}
    for digest in message.payloads:
        if digest not in known_digests:
            raise _unknown("payloads", f"{message.run_id} does not refer to {digest}.")
        found[digest] = None
    if not found:
        raise _unknown("fields", "Nothing to erase was named.")
    return list(found)


def _unknown(field: str, message: str) -> InterlockError:
    fix = "`interlock journal show RUN` lists the events; what ends in _payload can be erased."
    return InterlockError(Reason.INVALID_ARGUMENT, message, field=field, fix=fix)


async def _present(deps: Deps, digests: Iterable[str]) -> list[str]:
    """Those that were not erased before."""
    sizes = await others.payload_sizes(deps.database, [digest_bytes(digest) for digest in digests])
    kept = {digest_text(raw) for raw, size in sizes.items() if size}
    return [digest for digest in digests if digest in kept]


async def _ancestors(deps: Deps, run: Run) -> list[str]:
    """The runs that it is a fork of, nearest first."""
    found: list[str] = []
    while run.fork is not None and run.fork.run_id not in found:
        found.append(run.fork.run_id)
        try:
            run = await deps.book.get(run.fork.run_id)
        except InterlockError as error:
            if error.reason is not Reason.RUN_NOT_FOUND:
                raise
            break  # it was archived: its bundle is a matter of whoever has it
    return found


def _events(digests: list[str], reason: str) -> Iterable[e.Event]:
    by = current_identity().subject
    for at in range(0, len(digests), _IN_AN_EVENT):
        yield e.Erased(tuple(digests[at : at + _IN_AN_EVENT]), reason, by)


async def _approvals(deps: Deps, run_id: str, texts: Collection[str]) -> list[ApprovalUpsert]:
    """The run's approvals without the texts: their rows repeat what events say."""
    found = []
    after = ""
    while rows := await approvals.of_run(deps.database, run_id, after=after):
        after = rows[-1].id
        for row in rows:
            doc = convert.rewritten(row.doc, lambda plain: _without(plain, texts))
            if doc != row.doc:
                values = {name: getattr(row, name) for name in row._fields if name not in ("run_id", "doc")}
                found.append(ApprovalUpsert(**values, doc=doc))
    return found


def _without(value: Any, texts: Collection[str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _without(item, texts) for key, item in value.items()}
    if isinstance(value, list):
        return [_without(item, texts) for item in value]
    if not isinstance(value, str) or not value or is_digest(value):
        return value
    start = value.removesuffix("…")
    gone = any(value == text or (len(start) >= _TITLE and text.startswith(start)) for text in texts)
    return ERASED if gone else value
