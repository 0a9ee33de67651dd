"""From the feed of approvals to messages.

The feed's cursor is kept after each event has been dealt with, and what has been posted is noted before it is sent: so
whenever this process ends, its successor goes on without a gap and without a second message. Nothing is queued: while
the homeserver makes the bot wait, the feed waits, and goes on from its cursor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from interlock.client import Client, InterlockError, Reason
from interlock.client.retry import may_repeat
from interlock.common import logs
from interlock.matrix import render
from interlock.matrix.answers import APPROVE, REJECT
from interlock.matrix.homeserver import Homeserver, Refused
from interlock.matrix.settings import Room
from interlock.matrix.state import Message, State
from interlock.v1.decision_pb2 import ApprovalEvent, ApprovalEventKind, ApprovalRecord, ApprovalState

PAUSE = 2.0
"""Seconds between two tries to reach Interlock, after the SDK has given up its own."""
_PENDING = ApprovalState.APPROVAL_STATE_PENDING
_ASKING = frozenset(
    {ApprovalEventKind.APPROVAL_EVENT_KIND_PENDING, ApprovalEventKind.APPROVAL_EVENT_KIND_REQUESTED}
)
_UNSURE = "?"
"""Version of a message that may have been sent by a process before this one: it is edited to say what is now."""
_UNUSABLE_CURSOR = frozenset({Reason.CURSOR_EXPIRED, Reason.CURSOR_INVALID})
_log = logs.get("posting")


class Posting:
    """Keeps one message in each room about each approval, and each message up to date.

    rooms: by their ids; each says what is shown in it.
    connect: a new client, with the bot's own token; it needs to look only.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        state: State,
        rooms: Mapping[str, Room],
        connect: Callable[[], Client] = Client,
    ) -> None:
        self._homeserver = homeserver
        self._state = state
        self._rooms = rooms
        self._connect = connect
        self._sending = asyncio.Lock()

    async def finish(self) -> None:
        """Before anything is read in the rooms: all that a process before this one began to post is known by its id."""
        await self._patiently(self._catch_up)

    async def run(self) -> None:
        """Follow the feed for ever. Raises InterlockError where trying again is of no use."""
        while True:
            await self._patiently(self._follow)

    async def _patiently(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await work()
            except InterlockError as error:
                if error.reason in _UNUSABLE_CURSOR:
                    self._state.keep_position("feed", "")
                    await self.finish()
                elif not is_temporary(error):
                    raise
                _log.warning("the feed is opened again", reason=error.reason.value, why=error.message)
                await asyncio.sleep(PAUSE)

    async def find(self, room_id: str, event_id: str) -> Message | None:
        """The message with this id, even when it arrived in the room before the homeserver answered with its id."""
        found = self._state.by_event(room_id, event_id)
        if found is None and self._sending.locked():
            async with self._sending:
                found = self._state.by_event(room_id, event_id)
        return found

    async def _follow(self) -> None:
        async with self._connect() as client:
            snapshot = False
            feed = client.subscribe_approvals(cursor=self._state.position("feed"), with_preview=False)
            async for message in feed:
                if message.reset and not snapshot:
                    await self._catch_up()  # what the bot missed is too old to be told event by event
                snapshot = message.reset
                if message.HasField("event"):
                    await self._handle(client, message.event)
                if message.cursor:
                    self._state.keep_position("feed", message.cursor)

    async def _catch_up(self) -> None:
        """Send what was only noted, and show what happened to open messages meanwhile."""
        async with self._connect() as client:
            for message in self._state.open_ones():
                try:
                    approval = await client.get_approval(message.approval_id)
                except InterlockError as error:
                    if error.reason is not Reason.APPROVAL_NOT_FOUND:
                        raise
                    self._state.now_shows(message, "GONE", is_open=False)
                    continue
                if not message.shown:
                    await self._send(message, approval, _UNSURE)
                await self._update(client, approval)

    async def _handle(self, client: Client, event: ApprovalEvent) -> None:
        approval = event.approval
        with logs.bound(run_id=approval.run_id, step=approval.step):
            if event.kind in _ASKING:
                await self._ask(client, approval.approval_id)
            else:
                await self._update(client, approval)

    async def _ask(self, client: Client, approval_id: str) -> None:
        """Post it, unless it was posted, or has been decided since: a feed that was left may be far behind."""
        approval = await client.get_approval(approval_id)
        if approval.replaces:
            await self._update(client, await client.get_approval(approval.replaces))
        known = {message.room_id for message in self._state.about(approval_id)}
        for room_id, room in list(self._rooms.items()):
            if (
                room_id not in known
                and approval.state == _PENDING
                and room.shows(dict(approval.labels), dict(approval.workspace_labels))
            ):
                message = Message(approval_id, room_id, approval.run_id, approval.step, approval.digest)
                self._state.add(message)
                await self._send(message, approval, render.version(approval))
        await self._update(client, approval)

    async def _send(self, message: Message, approval: ApprovalRecord, version: str) -> None:
        """Post it with its two reactions; what a process before this one has sent of that is not sent again."""
        key = render.transaction("post", message.approval_id, message.digest, message.room_id)
        event_id, room_id = message.event_id, message.room_id
        try:
            if not event_id:
                async with self._sending:
                    event_id = await self._homeserver.send(
                        room_id, "m.room.message", render.content(approval), key
                    )
                    self._state.sent(message, event_id)
            for sign in (APPROVE, REJECT):
                once = render.transaction("sign", sign, event_id)
                await self._homeserver.send(room_id, "m.reaction", render.reaction(event_id, sign), once)
            self._state.now_shows(message, version, is_open=True)
        except Refused as error:
            _log.error("a message could not be posted", room=message.room_id, why=str(error))

    async def _update(self, client: Client, approval: ApprovalRecord) -> None:
        """Edit the messages about it that say something else. Their last version says how it ended."""
        behind = [
            each for each in self._state.about(approval.approval_id) if each.shown != render.version(approval)
        ]
        if not behind:
            return
        if approval.state == _PENDING:
            approval = await client.get_approval(approval.approval_id)  # with its preview
        for message in behind:
            if message.event_id:
                await self._edit(message, approval)

    async def _edit(self, message: Message, approval: ApprovalRecord) -> None:
        version = render.version(approval)
        once = render.transaction("edit", message.event_id, version)
        content = render.edit(approval, message.event_id)
        try:
            await self._homeserver.send(message.room_id, "m.room.message", content, once)
        except Refused as error:
            _log.error("a message could not be edited", room=message.room_id, why=str(error))
            return
        self._state.now_shows(message, version, is_open=approval.state == _PENDING)


def is_temporary(error: InterlockError) -> bool:
    """Whether the same may work later: the service is away or busy."""
    return may_repeat(error) or error.reason in (Reason.RESOURCE_EXHAUSTED, Reason.DEADLINE_EXCEEDED)
