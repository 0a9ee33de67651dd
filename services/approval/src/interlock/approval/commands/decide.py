"""Decide about an approval."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from interlock.approval.ports import Answer, Orchestrator
from interlock.common.identity import Identity
from interlock.common.ids import Ids


async def decide(orchestrator: Orchestrator, ids: Ids, identity: Identity, answer: Answer) -> Any:
    """Record the caller's decision; returns the approval after it.

    The subject is the caller, whatever the request says. A request without an id gets one, so that the call to
    the orchestrator can be repeated safely. Raises PERMISSION_DENIED and what the orchestrator answers.
    """
    request_id = answer.request_id or ids.new("decide")
    return await orchestrator.record(replace(answer, request_id=request_id, caller=identity))
