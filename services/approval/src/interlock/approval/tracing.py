"""Spans about an approval, in the trace of its run: the run's own text is the parent, be it days old.

They are made where the caller's own trace is another one, or none: a person decides from anywhere.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from interlock.approval import convert
from interlock.approval.domain.changes import Item
from interlock.approval.hub import Hub
from interlock.approval.ports import Orchestrator
from interlock.common import telemetry
from interlock.common.errors import InterlockError


def delivery(item: Item) -> AbstractContextManager[Any]:
    """Around telling a subscriber of an open approval."""
    return _span("approval.deliver", item)


async def decision(hub: Hub, orchestrator: Orchestrator, approval_id: str) -> AbstractContextManager[Any]:
    """Around recording a decision; what the orchestrator does for it belongs to the same trace.

    An approval that the feed has not told of is asked for, only while spans are exported.
    """
    item = hub.item(approval_id)
    if item is None and telemetry.enabled():
        try:
            item = convert.item(await orchestrator.get(approval_id))
        except InterlockError:
            item = None  # the decision itself will say what is wrong
    return _span("approval.decide", item or Item(approval_id))


def _span(name: str, item: Item) -> AbstractContextManager[Any]:
    attributes: dict[str, Any] = {"interlock.approval_id": item.approval_id}
    if item.run_id:
        attributes |= {"interlock.run_id": item.run_id, "interlock.step": item.step}
    return telemetry.span(name, traceparent=item.traceparent or None, attributes=attributes)
