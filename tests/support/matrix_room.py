"""`interlock matrix-bot` in a room of a real homeserver, beside real services."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.support.installation import INTERLOCK, SECONDS, Installation, wait_until
from tests.support.synapse import Synapse, User
from tests.support.working import pending, start

from interlock.client import Client
from interlock.v1.decision_pb2 import ApprovalRecord

EDIT = '{edit_file: {path: a.py, new_content: "new\\n"}}'


def token(up: Installation, subject: str, role: str) -> str:
    """A token as an administrator issues it."""
    made = subprocess.run(
        [*INTERLOCK, "token", "create", "--subject", subject, "--role", role],
        env=up.env, capture_output=True, text=True, timeout=SECONDS, check=True,
    )  # fmt: skip
    return made.stdout.strip()


class Bot:
    """`interlock matrix-bot` with a file of its own, in one room."""

    def __init__(self, up: Installation, server: Synapse, place: Path, account: User, room: str) -> None:
        self.up, self.account, self.room = up, account, room
        self.file, self._log = place / "matrix.yaml", place / "bot.log"
        self.settings: dict[str, Any] = {
            "console": "https://console.example",
            "homeserver": server.url,
            "token": account.token,
            "state": str(place / "state.db"),
            "rooms": [room],
            "people": {},
        }
        self.own_token = token(up, "matrix-bot", "viewer")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def env(self) -> dict[str, str]:
        return {**self.up.env, "INTERLOCK_TOKEN": self.own_token}

    def may_decide(self, user: User, subject: str, role: str = "approver") -> None:
        self.settings["people"][user.user] = {"subject": subject, "token": token(self.up, subject, role)}

    def write(self) -> None:
        self.file.touch(mode=0o600)
        self.file.write_text(yaml.safe_dump(self.settings))

    def start(self) -> None:
        self.write()
        seen = self.log.count("the bot works")
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                [*INTERLOCK, "matrix-bot", "--config", str(self.file)],
                env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

        def works() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log
            return self.log.count("the bot works") > seen

        wait_until(works, what="the bot works")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(SECONDS)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(SECONDS) == 0, self.log
        assert "Traceback" not in self.log
        secrets = [
            self.account.token,
            self.own_token,
            *(each["token"] for each in self.settings["people"].values()),
        ]
        assert not any(secret in self.log for secret in secrets)


class Room:
    """What somebody reads in the room."""

    def __init__(self, reader: User, room: str, bot: str) -> None:
        self._reader, self.room, self._bot = reader, room, bot

    def posts(self, approval_id: str) -> list[Any]:
        """The bot's messages about an approval that are no edits."""
        return [
            each for each in self._said() if _mark(each) == approval_id and not _relation(each, "m.replace")
        ]

    def post(self, approval_id: str) -> Any:
        """The one message about it, once it is there with the reactions that the bot offers."""
        wait_until(lambda: self.posts(approval_id), what=f"a message about {approval_id}")
        (found,) = self.posts(approval_id)
        return found

    def edits(self, event_id: str) -> list[str]:
        """The texts that a message was replaced by, oldest first."""
        replaced = [each for each in self._said() if _relation(each, "m.replace").get("event_id") == event_id]
        return [each["content"]["m.new_content"]["body"] for each in replaced]

    def edited(self, event_id: str, text: str) -> None:
        """Until its latest version says this."""
        wait_until(lambda: text in next(iter(self.edits(event_id)[-1:]), ""), what=f"{text!r} in {event_id}")

    def remark(self, event_id: str) -> str:
        """What the bot replies to an event, once it does."""

        def found() -> list[str]:
            return [each["content"]["body"] for each in self._said() if _answers(each) == event_id]

        return str(wait_until(found, what=f"a remark on {event_id}")[0])

    def _said(self) -> list[Any]:
        return [
            each for each in self._reader.events(self.room, self._bot) if each["type"] == "m.room.message"
        ]


def _mark(event: Any) -> str:
    return str(event["content"].get("dev.interlock.approval", {}).get("approval_id", ""))


def _relation(event: Any, kind: str) -> Any:
    relation = event["content"].get("m.relates_to", {})
    return relation if relation.get("rel_type") == kind else {}


def _answers(event: Any) -> str:
    return str(event["content"].get("m.relates_to", {}).get("m.in_reply_to", {}).get("event_id", ""))


@dataclass
class Chat:
    """A room with a bot, two people who may decide, and one who may not."""

    up: Installation
    server: Synapse
    bot: Bot
    room: Room
    ada: User
    bob: User
    eve: User

    @property
    def id(self) -> str:
        return self.room.room

    async def ask(
        self, client: Client, *steps: str, head: str = "", **options: Any
    ) -> tuple[ApprovalRecord, Path]:
        """A run that waits, and its directory."""
        project = self.up.project(a__py="old\n")
        run = await start(client, project, *(steps or (EDIT,)), head=head, **options)
        return await pending(client, run), project
