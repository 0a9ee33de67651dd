"""A homeserver, services, and a bot between them, as real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.installation import Installation, running
from tests.support.matrix_room import Bot, Chat, Room
from tests.support.synapse import Synapse, free_port, synapse


@pytest.fixture(scope="session")
def up() -> Iterator[Installation]:
    with running() as installation:
        yield installation


@pytest.fixture(scope="session")
def homeserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synapse]:
    with synapse(tmp_path_factory.mktemp("synapse"), free_port()) as server:
        yield server


@pytest.fixture(scope="session")
def chat(up: Installation, homeserver: Synapse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    account, ada, bob, eve = (homeserver.register(name) for name in ("interlock", "ada", "bob", "eve"))
    room = ada.make_room(account.user, bob.user, eve.user)
    for each in (bob, eve):
        each.ask("POST", f"join/{room}")
    bot = Bot(up, homeserver, tmp_path_factory.mktemp("bot"), account, room)
    bot.may_decide(ada, "ada@example.org")
    bot.may_decide(bob, "bob@example.org")
    bot.start()
    try:
        yield Chat(up, homeserver, bot, Room(ada, room, account.user), ada, bob, eve)
    finally:
        bot.stop()
