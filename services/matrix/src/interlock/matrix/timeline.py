"""What happened in the rooms, in order, from a position that is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from interlock.common import logs
from interlock.matrix.homeserver import PAGE, Event, Homeserver
from interlock.matrix.state import State

MOST_MISSED = 1000
"""Most events of a room that are read after a time away; older ones are not."""
_log = logs.get("timeline")


class Timeline:
    """The events of some rooms; those not yet dealt with come again after a crash."""

    def __init__(self, homeserver: Homeserver, state: State, rooms: Mapping[str, object]) -> None:
        self._homeserver = homeserver
        self._state = state
        self._rooms = rooms
        self._next = ""

    async def begin(self) -> None:
        """Start here, if nothing was read before."""
        if not self._state.position("rooms"):
            answer = await self._homeserver.sync("", list(self._rooms))
            self._state.keep_position("rooms", str(answer["next_batch"]))

    async def events(self) -> AsyncIterator[tuple[str, Event]]:
        """The room and the event, of everything since the position; waits until there is something, or a while."""
        since = self._state.position("rooms")
        answer = await self._homeserver.sync(since, list(self._rooms))
        for room_id, room in answer.get("rooms", {}).get("join", {}).items():
            for event in await self._of_room(room_id, room.get("timeline", {}), since):
                yield room_id, event
        for room_id in answer.get("rooms", {}).get("leave", {}):
            _log.error("this account is not in the room any more; invite it again", room=room_id)
        self._next = str(answer["next_batch"])

    def keep(self) -> None:
        """Everything that `events` gave has been dealt with."""
        self._state.keep_position("rooms", self._next)

    async def _of_room(self, room_id: str, timeline: Mapping[str, Any], since: str) -> list[Event]:
        events = _events(timeline.get("events"))
        if timeline.get("limited") is True:
            events = await self._missed(room_id, str(timeline.get("prev_batch", "")), since) + events
        return events

    async def _missed(self, room_id: str, before: str, since: str) -> list[Event]:
        """Events that did not fit into the answer, oldest first."""
        found: list[Event] = []
        while before and len(found) < MOST_MISSED:
            page = await self._homeserver.before(room_id, before, since)
            found += _events(page.get("chunk"))
            before = str(page.get("end") or "")
        if before:
            _log.error(
                "too much was said while the bot was away; older answers are not read",
                room=room_id,
                read=len(found),
            )
        return found[::-1]


def _events(given: object) -> list[Event]:
    listed = given if isinstance(given, list) else []
    return [event for event in listed[: 10 * PAGE] if isinstance(event, dict)]
