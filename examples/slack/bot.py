"""Asks in a Slack channel, and takes the press of a button as the decision of whom the button's presser is mapped to.

python examples/slack/bot.py    (settings: see README.md; with `interlock up` running on the same INTERLOCK_DATA_DIR)

Bolt checks that every request is signed by Slack and at most five minutes old. What a button is about (approval, step,
digest) travels in its value, which Slack keeps as it was posted: the decision is about what the message shows.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import uvicorn
from messages import ASKING, asking, ended
from slack_bolt.adapter.starlette.async_handler import AsyncSlackRequestHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient
from starlette.applications import Starlette
from starlette.routing import Route

from interlock.cli.safe import escape
from interlock.client import Client, InterlockError, Reason
from interlock.v1.decision_pb2 import APPROVAL_STATE_PENDING, ApprovalEvent, ApprovalRecord


class Posted:
    """How far the feed was read, and the message about each approval: one small file, replaced as a whole."""

    def __init__(self, file: Path) -> None:
        self._file = file
        known = json.loads(file.read_text()) if file.exists() else {}
        self.cursor: str = known.get("cursor", "")
        self.messages: dict[str, str] = known.get("messages", {})

    def keep(self) -> None:
        partial = self._file.with_suffix(".new")
        partial.write_text(json.dumps({"cursor": self.cursor, "messages": self.messages}))
        partial.replace(self._file)


class Feed:
    """From Interlock to the channel."""

    def __init__(self, slack: AsyncWebClient, channel: str, posted: Posted) -> None:
        self._slack, self._channel, self._posted = slack, channel, posted

    async def run(self) -> None:
        async with Client() as client:
            async for message in client.subscribe_approvals(cursor=self._posted.cursor):
                if message.HasField("event"):
                    await self._handle(
                        message.event, await client.get_approval(message.event.approval.approval_id)
                    )
                if message.cursor:
                    self._posted.cursor = message.cursor
                self._posted.keep()

    async def _handle(self, event: ApprovalEvent, now: ApprovalRecord) -> None:
        ts = self._posted.messages.get(now.approval_id)
        if ts is None and event.kind in ASKING and now.state == APPROVAL_STATE_PENDING:
            sent = await self._slack.chat_postMessage(channel=self._channel, **asking(now))
            self._posted.messages[now.approval_id] = sent["ts"]
        elif ts is not None and now.state == APPROVAL_STATE_PENDING:
            await self._slack.chat_update(channel=self._channel, ts=ts, **asking(now))  # somebody voted
        elif ts is not None:
            await self._slack.chat_update(channel=self._channel, ts=ts, **ended(now))
            del self._posted.messages[now.approval_id]


class Answers:
    """From the channel to Interlock. `people`: `TEAM/USER` → subject and that subject's token."""

    def __init__(self, people: dict[str, dict[str, str]], channel: str) -> None:
        self._people, self._channel = people, channel

    async def pressed(self, ack: Any, body: dict[str, Any], action: dict[str, Any], respond: Any) -> None:
        """A button was pressed."""
        await ack()
        team, user, channel = ((body.get(name) or {}).get("id") for name in ("team", "user", "channel"))
        person = self._people.get(f"{team}/{user}")
        if person is None or channel != self._channel:
            await respond(
                "You are not mapped to a subject of Interlock here: this did not count.",
                replace_original=False,
            )
            return
        try:
            await decide(person, action, words(body), user)
        except InterlockError as error:
            await respond(
                text="This did not count.",
                blocks=[
                    {"type": "section", "text": {"type": "plain_text", "text": escape(str(error))[:2900]}}
                ],
                replace_original=False,
            )


async def decide(person: dict[str, str], action: dict[str, Any], comment: str, user: str) -> None:
    """With the person's own token, about the digest that the message showed. Pressed twice, it counts once."""
    asked = json.loads(action["value"])
    shown = ApprovalRecord(
        approval_id=asked["approval"], run_id=asked["run"], step=asked["step"], digest=asked["digest"]
    )
    async with Client(token=person["token"]) as client:
        if (caller := await client.who_am_i()).subject != person["subject"]:
            raise InterlockError(
                Reason.PERMISSION_DENIED, f"The token kept for you belongs to {caller.subject}."
            )
        once = f"slack/{user}/{asked['approval']}/{action['action_ts']}"
        await client.decide(shown, action["action_id"], comment, channel="slack", request_id=once)


def words(body: dict[str, Any]) -> str:
    """What the person wrote into the message's field, and nothing else."""
    typed = body.get("state", {}).get("values", {}).get("why", {}).get("why", {}).get("value")
    return (typed or "")[:10_000]


def read_people(file: Path) -> dict[str, dict[str, str]]:
    """The file holds tokens: only its owner may read it."""
    if file.stat().st_mode & 0o077:
        raise SystemExit(f"{file} holds tokens and can be read by others: chmod 600 {file}")
    return json.loads(file.read_text())


async def main() -> None:
    channel = os.environ["SLACK_CHANNEL"]
    slack = AsyncWebClient(
        os.environ["SLACK_BOT_TOKEN"], base_url=os.environ.get("SLACK_API", AsyncWebClient.BASE_URL)
    )
    slack.retry_handlers.append(AsyncRateLimitErrorRetryHandler(max_retry_count=100))
    app = AsyncApp(client=slack, signing_secret=os.environ["SLACK_SIGNING_SECRET"])
    answers = Answers(read_people(Path(os.environ["SLACK_PEOPLE"])), channel)
    for name in ("approve", "reject"):
        app.action(name)(answers.pressed)
    web = Starlette(routes=[Route("/slack/events", AsyncSlackRequestHandler(app).handle, methods=["POST"])])
    port = int(os.environ.get("SLACK_PORT", "3000"))
    server = uvicorn.Server(uvicorn.Config(web, host="127.0.0.1", port=port, log_level="warning"))
    feed = Feed(slack, channel, Posted(Path(os.environ.get("SLACK_STATE", "slack.json"))))
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(feed.run())
        await server.serve()
        following.cancel()


if __name__ == "__main__":
    asyncio.run(main())
