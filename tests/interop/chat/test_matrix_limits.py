"""Where a homeserver, a room or a setting stands in the Matrix bot's way."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.installation import INTERLOCK, SECONDS, wait_until
from tests.support.matrix_room import Bot, Chat, Room
from tests.support.working import ended, pending, state

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]
YES, NO = "✅", "❌"


class Second:
    """Another bot, with an account and a room of its own, which ada and eve are in."""

    def __init__(self, chat: Chat, place: Path) -> None:
        self._chat = chat
        self.account = chat.server.register(f"second{len(chat.server.users)}")
        self.id = self.make_room()
        self.room = Room(chat.ada, self.id, self.account.user)
        self.bot = Bot(chat.up, chat.server, place, self.account, self.id)
        self.bot.may_decide(chat.ada, "ada@example.org")

    def make_room(self, **options: Any) -> str:
        """A room of ada's that the bot is invited to."""
        return self._chat.ada.make_room(self.account.user, self._chat.eve.user, **options)

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """The command, when it ends by itself."""
        self.bot.write()
        return subprocess.run(
            [*INTERLOCK, "matrix-bot", "--config", str(self.bot.file), *options],
            env=self.bot.env, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip


@pytest.fixture
def second(chat: Chat, tmp_path: Path) -> Iterator[Second]:
    found = Second(chat, tmp_path)
    yield found
    found.bot.stop()


async def test_a_limit_of_the_homeserver_is_waited_out(chat: Chat, second: Second) -> None:
    chat.server.limit(second.account.user, per_second=5, burst=1)
    second.bot.start()
    async with chat.up.client() as client:
        asked = [(await chat.ask(client))[0] for _ in range(5)]
        for each in asked:
            second.room.post(each.approval_id)
            await client.decide(each, "reject")
        for each in asked:
            second.room.edited(second.room.post(each.approval_id)["event_id"], "REJECTED")
    assert "429 M_LIMIT_EXCEEDED" in second.bot.log


async def test_answers_among_much_else_while_it_was_away(chat: Chat, second: Second) -> None:
    chat.eve.ask("POST", f"join/{second.id}")
    second.bot.start()
    async with chat.up.client() as client:
        asked, _ = await chat.ask(client)
        post = second.room.post(asked.approval_id)
        second.bot.kill()
        chat.ada.reply(second.id, post["event_id"], "reject first word")
        for number in range(230):
            chat.eve.send(second.id, "m.room.message", {"msgtype": "m.text", "body": f"chatter {number}"})
        chat.ada.react(second.id, post["event_id"], YES)  # too late: the first one counts
        second.bot.start()
        await ended(client, await client.get_run(asked.run_id))
        decided = await client.get_approval(asked.approval_id)
    assert (decided.decision.subject, decided.decision.comment) == ("ada@example.org", "first word")


async def test_only_its_rooms_and_its_messages_count(chat: Chat, second: Second) -> None:
    elsewhere = second.make_room()
    second.account.ask("POST", f"join/{elsewhere}")
    second.bot.start()
    async with chat.up.client() as client:
        asked, _ = await chat.ask(client)
        post = second.room.post(asked.approval_id)
        chat.ada.reply(elsewhere, post["event_id"], "approve")
        forged = {**post["content"], "body": "apr", "m.relates_to": {}}
        copy = chat.ada.send(second.id, "m.room.message", forged)
        chat.ada.react(second.id, copy, YES)
        chat.ada.send(
            second.id, "m.room.encryption", ENCRYPTION["content"]
        )  # no state of the room: a message
        chat.ada.reply(second.id, post["event_id"], "reject")
        assert state(await ended(client, await client.get_run(asked.run_id))) == "FAILED"


async def test_labels_choose_the_room(chat: Chat, second: Second) -> None:
    second.bot.settings["rooms"] = [{"room": second.id, "labels": {"team": "pay"}}]
    second.bot.start()
    async with chat.up.client() as client:
        other, _ = await chat.ask(client)
        ours, _ = await chat.ask(client, labels={"team": "pay", "more": "x"})
        second.room.post(ours.approval_id)
        chat.room.post(other.approval_id)
        assert second.room.posts(other.approval_id) == []
        for each in (other, ours):
            await client.decide(each, "reject")


async def test_a_token_of_somebody_else_decides_nothing(chat: Chat, second: Second) -> None:
    people = second.bot.settings["people"]
    people[chat.ada.user] = {**people[chat.ada.user], "subject": "carl@example.org"}
    second.bot.start()
    async with chat.up.client() as client:
        asked, _ = await chat.ask(client)
        post = second.room.post(asked.approval_id)
        press = chat.ada.react(second.id, post["event_id"], YES)
        said = second.room.remark(press)
        assert "belongs to ada@example.org, not to carl@example.org" in said
        assert (await client.get_approval(asked.approval_id)).state == asked.state
        await client.decide(asked, "reject")


async def test_whoever_may_only_look_is_refused_by_the_service(chat: Chat, second: Second) -> None:
    second.bot.may_decide(chat.ada, "viewer@example.org", role="viewer")
    second.bot.start()
    async with chat.up.client() as client:
        asked, _ = await chat.ask(client)
        press = chat.ada.react(second.id, second.room.post(asked.approval_id)["event_id"], YES)
        assert "PERMISSION_DENIED" in second.room.remark(press)
        assert (await client.get_approval(asked.approval_id)).state == asked.state
        await client.decide(asked, "reject")


ENCRYPTION = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}


def test_an_encrypted_room_is_refused_and_told_so(chat: Chat, second: Second) -> None:
    secret = second.make_room(initial_state=[{**ENCRYPTION, "state_key": ""}])
    second.bot.settings["rooms"] = [secret]
    done = second.run()
    assert done.returncode == 2
    assert "is encrypted" in done.stderr
    said = [each["content"].get("body", "") for each in chat.ada.events(secret, second.account.user)]
    assert any("cannot read encrypted rooms" in text for text in said)


async def test_a_room_that_becomes_encrypted_counts_no_more(chat: Chat, second: Second) -> None:
    second.bot.start()
    async with chat.up.client() as client:
        asked, _ = await chat.ask(client)
        post = second.room.post(asked.approval_id)
        chat.ada.ask("PUT", f"rooms/{second.id}/state/m.room.encryption/", **ENCRYPTION["content"])  # type: ignore[arg-type]
        chat.ada.react(second.id, post["event_id"], YES)

        def told() -> bool:
            said = chat.ada.events(second.id, second.account.user)
            return any("cannot read encrypted rooms" in each["content"].get("body", "") for each in said)

        wait_until(told)
        new, _ = await chat.ask(client)
        chat.ada.react(
            chat.id, chat.room.post(new.approval_id)["event_id"], NO
        )  # the other bot, in its own room
        await ended(client, await client.get_run(new.run_id))
        assert second.room.posts(new.approval_id) == []
        now = await pending(client, await client.get_run(asked.run_id))
        assert now.state == asked.state
        await client.decide(asked, "reject")


def test_a_check_says_what_would_work(chat: Chat, second: Second) -> None:
    good = second.run("--check", "-o", "json")
    assert good.returncode == 0, good.stderr
    found = json.loads(good.stdout)
    assert (found["account"], found["rooms"], found["subject"]) == (
        second.account.user,
        [second.id],
        "matrix-bot",
    )
    second.bot.settings["people"]["@gone:test.local"] = {"subject": "gone", "token": "ilk_tok-gone_x"}
    bad = second.run("--check")
    assert bad.returncode == 1
    assert f"{chat.ada.user}: may be asked" in bad.stdout
    assert "@gone:test.local: " in bad.stdout
    assert "ilk_tok-gone_x" not in bad.stdout + bad.stderr


def test_an_account_that_is_gone_ends_it(chat: Chat, second: Second) -> None:
    second.bot.start()
    second.account.ask("POST", "logout")
    assert second.bot.process is not None
    assert second.bot.process.wait(SECONDS) == 1
    assert "Log in again" in second.bot.log
