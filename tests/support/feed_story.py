"""Things that happen to approvals, and what the journal says of them: the truth that followers are compared with."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.orchestrator import Running, create, edit

from interlock.common.client import rpc_errors
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.readers import events
from interlock.v1 import decision_pb2 as d
from interlock.v1 import orchestrator_pb2 as o

Happened = tuple[int, str, str]
"""Position in the journal, kind, approval."""

_RESOLVED = frozenset({"approval.decided", "approval.expired", "approval.cancelled"})
_STEPS = 10
_ACTIONS = [d.REJECT_ACTION_SKIP_STEP, d.REJECT_ACTION_FAIL_RUN]


async def journal(database: Database) -> list[tuple[Happened, str]]:
    """Everything that happened to approvals, in order, with the run that it belongs to."""
    found: list[tuple[Happened, str]] = []
    after = 0
    while rows := await events.of_feed(database, after, 1000):
        after = rows[-1].position
        for row in rows:
            data = json.loads(row.canonical)["data"]
            if row.type == "approval.requested":
                told = ("REQUESTED", data["approval"]["approval_id"])
            elif row.type in _RESOLVED:
                told = ("RESOLVED", data["approval_id"])
            elif row.type == "approval.voted":
                told = ("VOTED", data["approval_id"])
            elif row.type == "step.succeeded" and "approval_id" in data:
                told = ("APPLIED", data["approval_id"])
            else:
                continue
            found.append(((row.position, *told), row.run_id))
    return found


def told(event: d.ApprovalEvent) -> Happened:
    """The same of an event of the feed."""
    kind = d.ApprovalEventKind.Name(event.kind).removeprefix("APPROVAL_EVENT_KIND_")
    return event.position, kind, event.approval.approval_id


@dataclass
class Story:
    """Runs whose steps are decided at random, until so many events of approvals have happened."""

    running: Running
    chance: random.Random
    runs: dict[str, Mapping[str, str]] = field(default_factory=dict)
    count: int = 0

    async def tell(self, events: int) -> None:
        """Make runs and decide about whatever they ask."""
        deciding = asyncio.create_task(self._decide())
        try:
            while self.count < events:
                await asyncio.gather(*(self.begin() for _ in range(4)))
                goal = min(events, self.count + 4 * _STEPS)
                while self.count < goal and not deciding.done():  # noqa: ASYNC110 (a stream counts)
                    await asyncio.sleep(0.01)
                if deciding.done():
                    deciding.result()
        finally:
            deciding.cancel()
            await asyncio.gather(deciding, return_exceptions=True)

    async def begin(self, **labels: str) -> str:
        """A new run that asks at once; its labels are at random unless they are given."""
        labels = labels or {"part": str(self.chance.randrange(4))}
        steps = [edit(f"{number}\n") for number in range(_STEPS)]
        run = await create(self.running.stub, *steps, labels=labels)
        self.runs[run.run_id] = labels
        return str(run.run_id)

    async def _decide(self) -> None:
        call = self.running.stub.WatchApprovals(o.WatchApprovalsRequest())
        with rpc_errors():
            async for frame in call:
                for event in frame.events:
                    self.count += 1
                    if event.kind in (d.APPROVAL_EVENT_KIND_PENDING, d.APPROVAL_EVENT_KIND_REQUESTED):
                        await self._answer(event.approval)

    async def _answer(self, approval: d.ApprovalRecord) -> None:
        verdict: dict[str, Any] = {"approve": {}}
        drawn = self.chance.random()
        if drawn < 0.05:
            verdict = {"edit": d.Edit(input=edit(f"edited {self.count}\n").input)}
        elif drawn < 0.15:
            verdict = {"reject": d.Reject(action=self.chance.choice(_ACTIONS))}
        elif drawn < 0.2:
            verdict = {"skip": {}}
        decision = d.Decision(digest=approval.digest, channel="test", **verdict)
        request = o.RecordDecisionRequest(approval_id=approval.approval_id, decision=decision)
        await self.running.stub.RecordDecision(request)
