"""The Slack example, with Bolt itself, between real services and a server that plays Slack's Web API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.support.fake_slack import CHANNEL, SECRET, TEAM, TOKEN, FakeSlack, fake_slack
from tests.support.installation import SECONDS, Installation, wait_until
from tests.support.matrix_room import EDIT, token
from tests.support.synapse import SYNAPSE, free_port
from tests.support.working import ended, pending, start, state

from interlock.client import Client
from interlock.v1.decision_pb2 import ApprovalRecord

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]
BOT = Path(__file__).resolve().parents[3] / "examples/slack/bot.py"


@dataclass
class Chat:
    """A channel with a bot. ADA may decide, EVE may not."""

    up: Installation
    slack: FakeSlack
    place: Path
    env: dict[str, str]
    url: str
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with open(self.place / "log", "ab") as log:
            self.process = subprocess.Popen([sys.executable, str(BOT)], env=self.env, stdout=log, stderr=log)
        wait_until(self._answers, what="the bot listens")

    @property
    def log(self) -> str:
        return (self.place / "log").read_text(errors="replace")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(SECONDS)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        try:
            return httpx.get(self.url).status_code == 404
        except httpx.TransportError:
            return False

    def unsigned(self) -> httpx.Response:
        return httpx.post(f"{self.url}/slack/events", data={"payload": "{}"})

    async def ask(self, client: Client, step: str = EDIT) -> tuple[ApprovalRecord, str]:
        """An approval that is pending, and the `ts` of its message."""
        run = await start(client, self.up.project(a__py="old\n"), step)
        asked = await pending(client, run)
        return asked, wait_until(lambda: self.about(asked), what="a message")[0]

    def about(self, asked: ApprovalRecord) -> list[str]:
        return [ts for ts in self.slack.posts if asked.run_id in self.slack.messages[ts]["text"]]

    def text(self, ts: str) -> str:
        return json.dumps(self.slack.messages[ts], ensure_ascii=False)


@pytest.fixture(scope="module")
def chat(up: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    place, port = tmp_path_factory.mktemp("slack"), free_port()
    people = place / "people.json"
    people.touch(mode=0o600)
    ada = {"subject": "ada", "token": token(up, "ada", "approver")}
    people.write_text(json.dumps({f"{TEAM}/U0ADA": ada}))
    with fake_slack() as slack:
        env = {
            **up.env, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), SYNAPSE]),
            "INTERLOCK_TOKEN": token(up, "slack-bot", "viewer"),
            "SLACK_BOT_TOKEN": TOKEN, "SLACK_SIGNING_SECRET": SECRET, "SLACK_CHANNEL": CHANNEL,
            "SLACK_API": f"{slack.url}/api/", "SLACK_PEOPLE": str(people), "SLACK_STATE": str(place / "state.json"),
            "SLACK_PORT": str(port),
        }  # fmt: skip
        found = Chat(up, slack, place, env, f"http://127.0.0.1:{port}")
        found.start()
        try:
            yield found
        finally:
            found.kill()
        assert "Traceback" not in found.log
        assert not any(
            secret in found.log for secret in (TOKEN, SECRET, ada["token"], env["INTERLOCK_TOKEN"])
        )


async def test_a_signed_press_decides_as_its_presser(chat: Chat) -> None:
    async with chat.up.client() as client:
        asked, ts = await chat.ask(client)
        assert asked.digest in chat.text(ts)
        assert chat.slack.press(chat.url, ts, "U0ADA", "approve", typed="fine <!channel>").status_code == 200
        done = await ended(client, await client.get_run(asked.run_id))
        decision = (await client.get_approval(asked.approval_id)).decision
    assert state(done) == "COMPLETED"
    assert (decision.subject, decision.channel, decision.comment) == ("ada", "slack", "fine <!channel>")
    assert decision.digest == asked.digest
    wait_until(lambda: "APPROVED by ada through slack" in chat.text(ts))
    assert '"actions"' not in chat.text(ts)


async def test_wrongly_signed_and_old_presses_are_refused(chat: Chat) -> None:
    async with chat.up.client() as client:
        asked, ts = await chat.ask(client)
        assert chat.slack.press(chat.url, ts, "U0ADA", "approve", secret="other").status_code == 401
        assert chat.slack.press(chat.url, ts, "U0ADA", "approve", age=301).status_code == 401
        assert chat.slack.press(chat.url, ts, "U0ADA", "approve", age=-400).status_code == 401
        assert chat.unsigned().status_code == 401
        assert (await client.get_approval(asked.approval_id)).state == asked.state
        assert chat.slack.press(chat.url, ts, "U0ADA", "reject").status_code == 200
        assert state(await ended(client, await client.get_run(asked.run_id))) == "FAILED"


async def test_who_is_not_mapped_or_elsewhere_is_told_so(chat: Chat) -> None:
    async with chat.up.client() as client:
        asked, ts = await chat.ask(client)
        for user, changes in (("U0EVE", {}), ("U0ADA", {"channel": "C0OTHER"})):
            chat.slack.said.clear()
            assert chat.slack.press(chat.url, ts, user, "approve", **changes).status_code == 200
            said = wait_until(lambda: chat.slack.said)
            assert "not mapped" in said[0]["text"]
        assert (await client.get_approval(asked.approval_id)).state == asked.state
        await client.decide(asked, "reject", "by hand", channel="cli")
        wait_until(lambda: "through cli: by hand" in chat.text(ts))


async def test_another_digest_than_what_is_pending_is_refused(chat: Chat) -> None:
    async with chat.up.client() as client:
        asked, ts = await chat.ask(client)
        value = {
            "approval": asked.approval_id,
            "run": asked.run_id,
            "step": 1,
            "digest": "sha256:" + "0" * 64,
        }
        chat.slack.said.clear()
        chat.slack.press(chat.url, ts, "U0ADA", "approve", value=json.dumps(value))
        said = wait_until(lambda: chat.slack.said)
        assert "did not count" in said[0]["text"]
        assert (await client.get_approval(asked.approval_id)).state == asked.state
        await client.decide(asked, "reject")


async def test_a_killed_bot_goes_on_where_it_was(chat: Chat) -> None:
    async with chat.up.client() as client:
        asked, _ = await chat.ask(client)
        wait_until(lambda: asked.approval_id in (chat.place / "state.json").read_text())
        chat.kill()
        chat.slack.limit_next = 2
        run = await start(client, chat.up.project(a__py="old\n"), EDIT)
        new = await pending(client, run)
        chat.start()
        wait_until(lambda: chat.about(new), what="the new one")
        for each in (asked, new):
            assert len(chat.about(each)) == 1
            chat.slack.press(chat.url, chat.about(each)[0], "U0ADA", "approve")
            assert state(await ended(client, await client.get_run(each.run_id))) == "COMPLETED"


async def test_hostile_names_are_plain_text(chat: Chat) -> None:
    evil = '{edit_file: {path: "<!channel>*b*.md", new_content: "```<@U0ADA>\\u202e"}}'
    async with chat.up.client() as client:
        asked, ts = await chat.ask(client, evil)
        await client.decide(asked, "reject")
        message = chat.slack.messages[ts]
    assert "mrkdwn" not in json.dumps(message)
    assert "<!channel>" not in message["text"]
    assert "\u202e" not in chat.text(ts)
