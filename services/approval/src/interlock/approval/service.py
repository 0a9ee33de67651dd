"""The rpcs of `interlock.v1.Approval`: check, call the use case, map."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

from interlock.approval import convert, tracing
from interlock.approval.commands.decide import decide
from interlock.approval.domain.changes import STILL_OPEN
from interlock.approval.frames import Frames
from interlock.approval.hub import Hub
from interlock.approval.ports import Orchestrator, Page
from interlock.approval.queries.subscribe import Message, Messages, Subscriptions, cancel_later
from interlock.approval.shares import Shares, share_of
from interlock.common import logs, telemetry
from interlock.common.clock import Clock
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import current_identity
from interlock.common.ids import Ids
from interlock.v1 import approval_pb2, approval_pb2_grpc

Write = Callable[[bytes], Awaitable[None]]
_CUT_SECONDS = 30.0
"""How long a subscriber that was too slow has to read why, before its call is cancelled."""


class ApprovalService(approval_pb2_grpc.ApprovalServicer):
    """Reads and decisions go to the orchestrator; subscriptions are served from the hub."""

    def __init__(
        self,
        orchestrator: Orchestrator,
        hub: Hub,
        subscriptions: Subscriptions,
        shares: Shares,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._orchestrator = orchestrator
        self._hub = hub
        self._subscriptions = subscriptions
        self._clock = clock
        self._ids = ids
        self._shares = shares
        self._frames = Frames()

    async def ListApprovals(
        self, request: approval_pb2.ListApprovalsRequest, context: Any
    ) -> approval_pb2.ListApprovalsResponse:
        """One page, oldest first."""
        page = await self._orchestrator.page(Page(convert.list_request(request)))
        return approval_pb2.ListApprovalsResponse(
            approvals=page.approvals, next_page_token=page.next_page_token
        )

    async def GetApproval(
        self, request: approval_pb2.GetApprovalRequest, context: Any
    ) -> approval_pb2.GetApprovalResponse:
        """One approval with its preview."""
        return approval_pb2.GetApprovalResponse(approval=await self._orchestrator.get(request.approval_id))

    async def Subscribe(self, request: approval_pb2.SubscribeRequest, context: Any) -> None:  # type: ignore[override]
        """What is open, then everything that happens: SubscribeResponse."""
        caller = current_identity()
        places = await self._orchestrator.places() if request.filter.for_me else ()
        chosen, share = convert.chosen(request.filter, caller, places), share_of(caller)
        with self._shares.one(share):
            messages = self._subscriptions.messages(chosen, request.cursor, cancel_later(_CUT_SECONDS), share)
            # At once, so that a client of a quiet stream knows that it is connected and allowed.
            await context.send_initial_metadata(())
            # In a task of its own: whoever is woken within the rpc's handler passes through all that is around it.
            await asyncio.create_task(self._tell(messages, context.write, request.with_preview))

    async def _tell(self, messages: Messages, write: Write, with_preview: bool) -> None:
        async with aclosing(messages):
            async for message in messages:
                frame = self._frames.get((message.cursor, with_preview, message.reset))
                if frame is None or message.change is None or telemetry.enabled():
                    frame = await self._response(message, with_preview)
                # Bytes: the server's codec takes messages that are encoded already.
                await write(frame)

    async def Decide(self, request: approval_pb2.DecideRequest, context: Any) -> approval_pb2.DecideResponse:
        """Record the caller's decision."""
        logs.bind(run_id=request.run_id, step=request.step, approval_id=request.approval_id)
        with await tracing.decision(self._hub, self._orchestrator, request.approval_id):
            record = await decide(self._orchestrator, self._ids, current_identity(), convert.answer(request))
        return approval_pb2.DecideResponse(approval=record)

    async def _response(self, message: Message, with_preview: bool) -> bytes:
        change = message.change
        if change is None or change.kind not in STILL_OPEN or not telemetry.enabled():
            return await self._frame(message, with_preview)
        with tracing.delivery(change.item):
            return await self._frame(message, with_preview)

    async def _frame(self, message: Message, with_preview: bool) -> bytes:
        key = (message.cursor, with_preview, message.reset)
        if message.change is None:
            now, anchor = self._clock.now(), self._hub.anchor
            return convert.subscribe_response(message, None, now, anchor).SerializeToString()
        if (frame := self._frames.get(key)) is not None:
            return frame
        record = await self._shown(message, with_preview)
        frame = convert.subscribe_response(message, record, self._clock.now()).SerializeToString()
        return self._frames.put(key, frame)

    async def _shown(self, message: Message, with_preview: bool) -> Any:
        change = message.change
        if change is None or not with_preview:
            return None
        if change.full is not None:
            return change.full
        try:
            return await self._orchestrator.get(change.item.approval_id)
        except InterlockError as error:
            if error.reason is Reason.APPROVAL_NOT_FOUND:
                return None
            raise
