"""A real Synapse on SQLite, and people who use it. MATRIX_SYNAPSE names the directory that it is installed in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import yaml
from tests.support.installation import SECONDS, wait_until

SYNAPSE = os.environ.get("MATRIX_SYNAPSE", "")
NAME = "test.local"
_SECRET = "registration"
_FAST = {"per_second": 1000, "burst_count": 1000}


class User:
    """Somebody with an account, as their client sees it."""

    def __init__(self, url: str, user: str, token: str) -> None:
        self.user, self.token = user, token
        self._http = httpx.Client(
            base_url=f"{url}/_matrix/client/v3/",
            headers={"authorization": f"Bearer {token}"},
            timeout=SECONDS,
        )
        self._numbers = itertools.count(1)

    def close(self) -> None:
        self._http.close()

    def ask(self, method: str, path: str, **body: Any) -> Any:
        answer = self._http.request(method, path, json=body if method != "GET" else None)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def make_room(self, *invited: str, **options: Any) -> str:
        return str(self.ask("POST", "createRoom", invite=list(invited), **options)["room_id"])

    def send(self, room: str, kind: str, content: Any) -> str:
        path = f"rooms/{quote(room)}/send/{kind}/t{next(self._numbers)}"
        return str(self.ask("PUT", path, **content)["event_id"])

    def react(self, room: str, event_id: str, key: str) -> str:
        relation = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
        return self.send(room, "m.reaction", {"m.relates_to": relation})

    def reply(self, room: str, event_id: str, text: str) -> str:
        relation = {"m.in_reply_to": {"event_id": event_id}}
        return self.send(
            room, "m.room.message", {"msgtype": "m.text", "body": text, "m.relates_to": relation}
        )

    def events(self, room: str, sender: str = "") -> list[Any]:
        """Everything in the room, oldest first, as the homeserver serves it (edits applied or not, by its rules)."""
        found: list[Any] = []
        position = ""
        while True:
            path = f"rooms/{quote(room)}/messages?dir=f&limit=500{position}"
            page = self.ask("GET", path)
            found += page["chunk"]
            if not page.get("end"):
                return [each for each in found if not sender or each["sender"] == sender]
            position = f"&from={page['end']}"


class Synapse:
    """A homeserver that can be stopped and started on the same data."""

    def __init__(self, place: Path, port: int) -> None:
        self.place, self.port = place, port
        self.url = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.users: list[User] = []

    @property
    def log(self) -> str:
        return (self.place / "log").read_text(errors="replace")

    def start(self) -> None:
        with open(self.place / "log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "synapse.app.homeserver", "-c", str(self.place / "homeserver.yaml")],
                env={**os.environ, "PYTHONPATH": SYNAPSE}, cwd=self.place, stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(self._answers, 2 * SECONDS, "Synapse answers")

    def stop(self, *, kill: bool = False) -> None:
        assert self.process is not None
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        self.process.wait(SECONDS)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log[-3000:]
        try:
            return httpx.get(f"{self.url}/_matrix/client/versions").status_code == 200
        except httpx.TransportError:
            return False

    def register(self, name: str, *, admin: bool = False) -> User:
        """A new account, by the secret that the configuration shares with administrators."""
        url = f"{self.url}/_synapse/admin/v1/register"
        nonce = httpx.get(url).json()["nonce"]
        signed = "\x00".join((nonce, name, "password", "admin" if admin else "notadmin")).encode()
        mac = hmac.new(_SECRET.encode(), signed, hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": name, "password": "password", "admin": admin, "mac": mac}
        answer = httpx.post(url, json=body, timeout=SECONDS).json()
        self.users.append(User(self.url, answer["user_id"], answer["access_token"]))
        return self.users[-1]

    def limit(self, user: str, *, per_second: int, burst: int) -> None:
        """From now on this account may send so much."""
        admin = self.register(f"admin{len(self.users)}", admin=True)
        path = f"{self.url}/_synapse/admin/v1/users/{user}/override_ratelimit"
        body = {"messages_per_second": per_second, "burst_count": burst}
        answer = httpx.post(
            path, json=body, headers={"authorization": f"Bearer {admin.token}"}, timeout=SECONDS
        )
        assert answer.status_code == 200, answer.text

    def close(self) -> None:
        """The end of it and of its users' connections."""
        for user in self.users:
            user.close()
        if self.process is not None and self.process.poll() is None:
            self.stop()


@contextmanager
def synapse(place: Path, port: int) -> Iterator[Synapse]:
    """A homeserver that runs until the end of the block."""
    (place / "signing.key").write_text(
        f"ed25519 a_1 {base64.b64encode(bytes(range(32))).decode().rstrip('=')}\n"
    )
    config = {
        "server_name": NAME,
        "listeners": [
            {"port": port, "bind_addresses": ["127.0.0.1"], "type": "http", "tls": False,
             "resources": [{"names": ["client"]}]}
        ],
        "database": {"name": "sqlite3", "args": {"database": str(place / "homeserver.db")}},
        "media_store_path": str(place / "media"),
        "pid_file": str(place / "homeserver.pid"),
        "signing_key_path": str(place / "signing.key"),
        "trusted_key_servers": [],
        "registration_shared_secret": _SECRET,
        "macaroon_secret_key": "macaroon",
        "form_secret": "form",
        "report_stats": False,
        "rc_message": _FAST,
        "rc_login": {"address": _FAST, "account": _FAST},
        "rc_joins": {"local": _FAST},
        "rc_room_creation": _FAST,
        "rc_invites": {"per_user": _FAST, "per_room": _FAST, "per_issuer": _FAST},
    }  # fmt: skip
    (place / "homeserver.yaml").write_text(yaml.safe_dump(config))
    server = Synapse(place, port)
    server.start()
    try:
        yield server
    finally:
        server.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
