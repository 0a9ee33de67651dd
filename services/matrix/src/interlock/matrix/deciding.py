"""From what people say in the rooms to decisions.

A decision is made with the token of the person who gave it, about the digest that the message showed, under a request
id made of the Matrix event's: read twice, it counts once. The position in the rooms is kept after everything before it
has been dealt with. Whether it is too late, or about a preview that was replaced, is for the service to say, not for
the state of this bot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from interlock.client import Client, InterlockError, Reason
from interlock.common import logs
from interlock.matrix import answers, render
from interlock.matrix.answers import Answer
from interlock.matrix.homeserver import Homeserver, Refused
from interlock.matrix.posting import PAUSE, Posting, is_temporary
from interlock.matrix.settings import Person, Room
from interlock.matrix.state import Message, State
from interlock.matrix.timeline import Timeline
from interlock.v1.decision_pb2 import ApprovalRecord

CHANNEL = "matrix"
MOST_REMARKS = 100
"""Refusals of strangers that wait to be said; more are not said."""
_NOBODY = "you are not mapped to a subject of Interlock here, so your answer does not count"
_UNCLEAR = "I did not understand. Reply with: approve, reject WHY, skip WHY, or replan WHY"
_LATER = "Interlock cannot be reached; your answer is kept and given when it is back"
ENCRYPTED = "This room is encrypted. I cannot read encrypted rooms, so answers in it do not count."
_log = logs.get("deciding")

ClientOf = Callable[[Person], Client]


def as_person(person: Person) -> Client:
    """A client that the services take for this person."""
    return Client(token=person.token)


class Deciding:
    """Reads the rooms and decides for those who may.

    own_user: the bot's user id. people: who is whom, by Matrix user id. rooms: shared with `Posting`; one that becomes
    encrypted is taken out. console: where people edit; empty where nobody said.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        state: State,
        posting: Posting,
        own_user: str,
        people: Mapping[str, Person],
        rooms: dict[str, Room],
        client_of: ClientOf = as_person,
        console: str = "",
    ) -> None:
        self._homeserver = homeserver
        self._posting = posting
        self._own_user = own_user
        self._people = people
        self._rooms = rooms
        self._client_of = client_of
        self._console = console
        self._timeline = Timeline(homeserver, state, rooms)
        self._remarks: asyncio.Queue[tuple[str, Answer, str]] = asyncio.Queue(MOST_REMARKS)
        self._told: set[str] = set()

    async def begin(self) -> None:
        """Note where the rooms are, the first time: what was said before is about nothing of this bot."""
        await self._timeline.begin()

    async def run(self) -> None:
        """Read the rooms for ever."""
        while True:
            async for room_id, event in self._timeline.events():
                await self.handle(room_id, event)
            self._timeline.keep()

    async def say_remarks(self) -> None:
        """Say the refusals of strangers, for ever: apart, so that they hold up nobody's decision."""
        while True:
            room_id, answer, key = await self._remarks.get()
            await self._say(room_id, answer, _NOBODY, key)

    async def handle(self, room_id: str, event: Mapping[str, Any]) -> None:
        """One event of a room."""
        if event.get("type") == "m.room.encryption" and "state_key" in event:  # else anybody could send it
            await self._leave_encrypted(room_id)
        answer = answers.read(event, self._own_user) if room_id in self._rooms else None
        message = await self._posting.find(room_id, answer.target) if answer else None
        if answer is None or message is None:
            return
        person = self._people.get(answer.sender)
        with logs.bound(run_id=message.run_id, step=message.step, matrix_event=answer.event_id):
            if person is None:
                self._refuse_stranger(room_id, answer, message)
            elif answer.verdict == "edit":
                said = render.where_to_edit(message.approval_id, self._console)
                await self._say(room_id, answer, said, render.transaction("edit", answer.event_id))
            elif not answer.verdict:
                await self._say(room_id, answer, _UNCLEAR, render.transaction("unclear", answer.event_id))
            else:
                await self._decide(room_id, answer, message, person)

    async def _decide(self, room_id: str, answer: Answer, message: Message, person: Person) -> None:
        told = False
        while True:
            try:
                await self._send_decision(answer, message, person)
            except InterlockError as error:
                if not is_temporary(error):
                    _log.warning("a decision was refused", subject=person.subject, reason=error.reason.value)
                    key = render.transaction("refused", answer.event_id)
                    return await self._say(room_id, answer, _explained(error), key)
                if not told:
                    await self._say(room_id, answer, _LATER, render.transaction("later", answer.event_id))
                told = True
                await asyncio.sleep(PAUSE)
            else:
                _log.info("a decision was given", subject=person.subject, verdict=answer.verdict)
                return None

    async def _send_decision(self, answer: Answer, message: Message, person: Person) -> None:
        shown = ApprovalRecord(
            approval_id=message.approval_id, run_id=message.run_id, step=message.step, digest=message.digest
        )
        async with self._client_of(person) as client:
            caller = await client.who_am_i()
            if caller.subject != person.subject:
                raise InterlockError(
                    Reason.PERMISSION_DENIED,
                    f"The token kept for you belongs to {caller.subject}, not to {person.subject}.",
                    fix="Have the bot's settings corrected.",
                )
            replan = answer.verdict == "replan"
            await client.decide(
                shown,
                "reject" if replan else answer.verdict,
                answer.comment,
                on_reject="replan" if replan else "fail",
                channel=CHANNEL,
                request_id=render.transaction("decide", answer.event_id),
            )

    def _refuse_stranger(self, room_id: str, answer: Answer, message: Message) -> None:
        """Once for each of them and each message; under a flood, not at all."""
        key = render.transaction("stranger", message.event_id, answer.sender)
        _log.warning("an answer of somebody unmapped was refused", user=ascii(answer.sender)[:200])
        if key in self._told or self._remarks.full():
            return
        if len(self._told) >= 10 * MOST_REMARKS:
            self._told.clear()  # the homeserver knows the transaction, so nothing is said twice
        self._told.add(key)
        self._remarks.put_nowait((room_id, answer, key))

    async def _say(self, room_id: str, answer: Answer, text: str, key: str) -> None:
        content = render.notice(f"{answer.sender}: {text}", answer.event_id, answer.sender)
        try:
            await self._homeserver.send(room_id, "m.room.message", content, key)
        except Refused as error:
            _log.error("a remark could not be posted", room=room_id, why=str(error))

    async def _leave_encrypted(self, room_id: str) -> None:
        if self._rooms.pop(room_id, None) is None:
            return
        _log.error("a room is encrypted now and is not acted in any more", room=room_id)
        try:
            await self._homeserver.send(
                room_id, "m.room.message", render.notice(ENCRYPTED), render.transaction("encrypted", room_id)
            )
        except Refused:
            pass  # it was said in the log


def _explained(error: InterlockError) -> str:
    fix = f" {error.fix}" if error.fix else ""
    return f"this did not count. {error.message}{fix} ({error.reason.value})"
