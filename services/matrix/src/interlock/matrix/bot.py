"""The whole: an account in its rooms, and the tasks that write and read there."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from interlock.client import Client, InterlockError, Reason
from interlock.common import logs
from interlock.matrix import render
from interlock.matrix.deciding import ENCRYPTED, Deciding
from interlock.matrix.homeserver import Homeserver, Refused, connected
from interlock.matrix.posting import Posting
from interlock.matrix.settings import Person, Room, Settings
from interlock.matrix.state import opened

_log = logs.get("bot")


async def run(settings: Settings) -> None:
    """Work until cancelled. Raises InterlockError when something is wrong that only people can put right."""
    async with connected(settings.homeserver, settings.token) as homeserver:
        own_user = await homeserver.who_am_i()
        rooms = await enter(homeserver, settings.rooms)
        with opened(settings.state, own_user) as state:
            posting = Posting(homeserver, state, rooms)
            deciding = Deciding(
                homeserver, state, posting, own_user, settings.people, rooms, console=settings.console
            )
            await deciding.begin()
            await posting.finish()
            _log.info("the bot works", user=own_user, rooms=list(rooms), people=len(settings.people))
            await _together(posting, deciding)


async def _together(posting: Posting, deciding: Deciding) -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            for work in (posting.run(), deciding.run(), deciding.say_remarks()):
                tasks.create_task(work)
    except* InterlockError as found:
        first: BaseException = found
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None


async def enter(homeserver: Homeserver, wanted: tuple[Room, ...]) -> dict[str, Room]:
    """Be in every room; each by its id. Raises InterlockError for one that is closed or encrypted."""
    rooms: dict[str, Room] = {}
    for each in wanted:
        try:
            room_id = await homeserver.join(each.room)
        except Refused as error:
            raise _unusable(
                each, f"cannot be joined: {error.message}", "Invite the bot's account to it."
            ) from None
        if await homeserver.is_encrypted(room_id):
            content = render.notice(ENCRYPTED)
            await homeserver.send(
                room_id, "m.room.message", content, render.transaction("encrypted", room_id)
            )
            raise _unusable(
                each, "is encrypted, which the bot cannot read", "Name a room without encryption."
            )
        rooms[room_id] = each
    return rooms


class Checked(NamedTuple):
    """What the settings lead to: the account, its rooms' ids, whom the services take the bot for, and what is wrong
    with each person, by Matrix user id: nothing where the text is empty.
    """

    account: str
    rooms: list[str]
    subject: str
    people: dict[str, str]

    @property
    def has_problem(self) -> bool:
        """Whether somebody could not decide."""
        return any(self.people.values())


async def check(settings: Settings, client: Client) -> Checked:
    """Try everything that the bot will need; asks nobody. `client` has the bot's own token. Raises InterlockError."""
    async with connected(settings.homeserver, settings.token) as homeserver:
        account = await homeserver.who_am_i()
        rooms = await enter(homeserver, settings.rooms)
    me = await client.who_am_i()
    people = {user: await _problem(person, client) for user, person in settings.people.items()}
    return Checked(account, list(rooms), me.subject, people)


async def _problem(person: Person, client: Client) -> str:
    async with Client(orchestrator=client.endpoints.orchestrator, token=person.token) as own:
        try:
            subject = (await own.who_am_i()).subject
        except InterlockError as error:
            return error.message
    return "" if subject == person.subject else f"the token belongs to {subject}"


def _unusable(room: Room, what: str, fix: str) -> InterlockError:
    return InterlockError(Reason.INVALID_ARGUMENT, f"The room {room.room} {what}.", field="rooms", fix=fix)
