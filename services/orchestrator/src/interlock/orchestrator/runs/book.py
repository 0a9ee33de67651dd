"""Runs as the journal tells them, folded from their events and kept in memory for as long as they are warm."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable

from interlock.common.digests import digest_text
from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.convert import salted
from interlock.orchestrator.domain.events import decode
from interlock.orchestrator.domain.evolve import Recorded, fold
from interlock.orchestrator.domain.model import Run
from interlock.orchestrator.store import archives
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.readers import events
from interlock.orchestrator.store.records import FeedRow

_PAGE = 1000
ERASED = "run.erased"


def recorded(row: FeedRow) -> Recorded:
    """A stored event as the state machine takes it."""
    data = json.loads(row.canonical)["data"]
    if row.type in salted.TYPES:
        data = salted.reveal(data, row.texts)
    event = decode(row.type, row.step or 0, data)
    return Recorded(row.run_id, row.seq, row.at, event, "sha256:" + row.hash.hex())


class RunBook:
    """A cache of folded runs. What it returns may be behind the journal unless asked to look (`refresh`).

    Args:
        capacity: runs kept; the least recently used go first.
    """

    def __init__(self, database: Database, *, capacity: int = 2000) -> None:
        self._database = database
        self._capacity = capacity
        self._runs: OrderedDict[str, Run] = OrderedDict()

    async def get(self, run_id: str) -> Run:
        """The run as this process last saw it. Raises RUN_NOT_FOUND."""
        known = self._runs.get(run_id)
        if known is None:
            return await self.refresh(run_id)
        self._runs.move_to_end(run_id)
        return known

    def seq(self, run_id: str) -> int:
        """Number of the run's last event known here; 0 when the run is not in memory."""
        run = self._runs.get(run_id)
        return run.seq if run else 0

    async def refresh(self, run_id: str) -> Run:
        """The run with every event that is durable now. Raises RUN_NOT_FOUND."""
        run = self._runs.get(run_id)
        while True:
            rows = await events.of_run(self._database, run_id, run.seq if run else 0, _PAGE)
            if run is not None and any(row.type == ERASED for row in rows):
                self.forget(run_id)
                run = None
                continue
            run = fold(map(recorded, rows), run)
            if len(rows) < _PAGE:
                break
        if run is None:
            raise await self._missing(run_id)
        return self.put(run)

    async def _missing(self, run_id: str) -> InterlockError:
        gone = (await archives.of(self._database, [run_id])).get(run_id)
        if gone is None:
            return InterlockError(Reason.RUN_NOT_FOUND, f"There is no run {run_id[:80]}.", field="run_id")
        bundle = digest_text(gone.bundle)
        return InterlockError(
            Reason.RUN_NOT_FOUND,
            f"{run_id} was archived at {gone.at:%Y-%m-%d %H:%M} UTC; its events are in the bundle {bundle}.",
            field="run_id",
            fix=f"`interlock journal verify FILE` reads it; it was put at {gone.place or 'a place that was not told'}.",
            metadata={"archived_at": gone.at.isoformat(), "bundle_digest": bundle, "place": gone.place},
        )

    def put(self, run: Run) -> Run:
        """Takes in a newer state; an older one changes nothing. Returns what is known now."""
        known = self._runs.get(run.run_id)
        if known is not None and known.seq > run.seq:
            return known
        self._runs[run.run_id] = run
        self._runs.move_to_end(run.run_id)
        while len(self._runs) > self._capacity:
            self._runs.popitem(last=False)
        return run

    def forget(self, run_id: str) -> None:
        """Something of it was erased: it is folded anew when it is wanted again."""
        self._runs.pop(run_id, None)

    def learn(self, rows: Iterable[FeedRow]) -> None:
        """Brings cached runs up to date with events that have just become durable."""
        for row in rows:
            run = self._runs.get(row.run_id)
            if run is not None and row.seq == run.seq + 1:
                self._runs[row.run_id] = fold((recorded(row),), run) or run
