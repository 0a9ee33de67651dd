"""Makes an anchor at intervals; of all orchestrators on a database, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from interlock.common import logs
from interlock.common.clock import Clock
from interlock.common.errors import InterlockError
from interlock.common.journal_keys import SigningKey
from interlock.common.tasks import stop
from interlock.orchestrator.domain import anchors as domain
from interlock.orchestrator.domain.chain import time_text
from interlock.orchestrator.domain.model import ZERO_DIGEST
from interlock.orchestrator.store import anchors, turns
from interlock.orchestrator.store.anchors import AnchorRow
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.readers import events

_TURN: Final = "anchorer"
_HOLD: Final = 60.0
_LOOK: Final = 10.0
_MOST: Final = 500_000
"""Events that one anchor covers; what is left goes into the next one at once."""

_log = logs.get("anchorer")


class Anchorer:
    """The periodic anchors. Without a key there are none, but those of other orchestrators are told.

    Args:
        interval: seconds between anchors, whoever makes them; 0 is never.
        look: seconds between looks at whether it is due, and for what others have made.
    """

    def __init__(
        self,
        database: Database,
        key: SigningKey | None,
        clock: Clock,
        *,
        interval: float,
        look: float = _LOOK,
    ) -> None:
        self._database, self._key, self._clock = database, key, clock
        self._interval, self._look = interval, look
        self._task: asyncio.Task[None] | None = None
        self.newest: AnchorRow | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="anchorer")

    async def close(self) -> None:
        """Stop."""
        await stop(self._task)

    async def once(self) -> bool:
        """Make anchors if it is due, nobody else is at it and something has happened. Returns whether one was made."""
        if self._key is None or not self._interval:
            return False
        if not await turns.take(self._database, _TURN, _HOLD):
            return False
        made = False
        while await self._make(self._key):
            made = True
        await turns.extend(self._database, _TURN, self._interval)
        return made

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(InterlockError):  # the database is away: it is due all the same
                await self.once()
                self.newest = await anchors.newest(self._database)
            await asyncio.sleep(min(self._look, self._interval or self._look))

    async def _make(self, key: SigningKey) -> bool:
        """One anchor over what happened since the last one; False when nothing did, or somebody else was first."""
        last = await anchors.newest(self._database)
        after = last.position if last else 0
        until = min(await events.position(self._database), after + _MOST)
        heads = await anchors.changed(self._database, after, until)
        if not heads:
            return False
        number, now = (last.number if last else 0) + 1, self._clock.now()
        root = await asyncio.to_thread(lambda: domain.root([domain.leaf(*head) for head in heads]))
        prev = domain.digest(last.statement) if last else ZERO_DIGEST
        said = domain.statement(number, time_text(now), until, len(heads), root, prev, key.key_id)
        signature = key.sign(domain.anchor_message(said))
        row = AnchorRow(number, now, until, len(heads), root, said, key.key_id, signature)
        if not await anchors.keep(self._database, row, heads):
            return False
        self.newest = row
        _log.info("anchored", number=number, heads=len(heads), position=until)
        return True
