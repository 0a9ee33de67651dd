"""From the feed to deliveries: each event once for each endpoint that wants it.

An endpoint's position in the feed and its deliveries are written together, and a delivery's id follows from endpoint
and position: after a restart, or beside another orchestrator, what was made before is not made again.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Final

from interlock.orchestrator.convert import webhooks as convert
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.queries import approvals
from interlock.orchestrator.store import webhooks
from interlock.orchestrator.store.records import FeedRow
from interlock.orchestrator.store.webhooks import EndpointRow, New
from interlock.v1 import approval_pb2, decision_pb2

_SAVED: Final = 5000
"""Events without a delivery after which the position is written all the same."""


def delivery_id(webhook_id: str, position: int) -> str:
    """The same for the same endpoint and event."""
    digest = hashlib.sha256(f"{webhook_id} {position}".encode()).digest()
    return "whd-" + base64.b32encode(digest).decode().lower()[:26]


class Outbox:
    """Follows the feed for all endpoints.

    Args:
        changed: set when there may be other endpoints than before.
        made: called when there are new deliveries.
        poll: seconds between looks for endpoints that another orchestrator was told of.
    """

    def __init__(self, deps: Deps, changed: asyncio.Event, made: Callable[[], None], poll: float) -> None:
        self._deps = deps
        self._changed = changed
        self._made = made
        self._poll = poll

    async def run(self) -> None:
        """For ever. Raises DATABASE_UNAVAILABLE."""
        while True:
            self._changed.clear()
            known = await webhooks.endpoints(self._deps.database)
            if known:
                await self._follow(known)
            else:
                await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._poll):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _follow(self, known: Sequence[EndpointRow]) -> None:
        """Until there are other endpoints, or it is time to look."""
        loop = asyncio.get_running_loop()
        look = loop.time() + self._poll
        ids = [each.id for each in known]
        saved = position = min(each.position for each in known)
        wanted = [(each, convert.filter_of(each), convert.kinds_of(each)) for each in known]
        async with aclosing(self._deps.feed.tail(position, idle=self._poll)) as tail:
            async for rows in tail:
                new = [made for row in rows for made in await self._of(row, wanted)]
                position = rows[-1].position if rows else position
                if new or position - saved >= _SAVED:
                    await webhooks.enqueue(self._deps.database, new, ids, position)
                    saved = position
                if new:
                    self._made()
                if self._changed.is_set() or loop.time() >= look:
                    break
        if position > saved:
            await webhooks.enqueue(self._deps.database, [], ids, position)

    async def _of(
        self, row: FeedRow, wanted: Sequence[tuple[EndpointRow, approval_pb2.ApprovalFilter, frozenset[int]]]
    ) -> list[New]:
        if not row.type.startswith(("approval.", "step.")):
            return []
        event = await approvals.event_of(self._deps, row, set())
        if event is None:
            return []
        body = convert.body(event, row.at)
        return [
            New(
                delivery_id(each.id, row.position),
                each.id,
                row.run_id,
                row.position,
                convert.type_of(event),
                body,
            )
            for each, chosen, kinds in wanted
            if row.position > each.position and _wants(chosen, kinds, event)
        ]


def _wants(
    chosen: approval_pb2.ApprovalFilter, kinds: frozenset[int], event: decision_pb2.ApprovalEvent
) -> bool:
    return (not kinds or event.kind in kinds) and approvals.matches(chosen, event.approval)
