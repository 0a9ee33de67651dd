"""A fake of Slack's Web API: a real HTTP server that keeps the messages it is given, and signs like Slack.

It is no Slack: it knows the three methods that the example calls, and checks of their arguments what matters here.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx

TOKEN, SECRET, CHANNEL, TEAM = "xoxb-test", "signing-secret", "C0OPS", "T0TEAM"


class FakeSlack:
    """messages: by their `ts`, as they are now. said: what was answered to presses."""

    def __init__(self) -> None:
        self.messages: dict[str, dict[str, Any]] = {}
        self.posts: list[str] = []
        self.said: list[dict[str, Any]] = []
        self.limit_next = 0
        self.url = ""

    def answer(self, path: str, token: str, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path.startswith("/respond"):
            self.said.append(given)
            return 200, {"ok": True}
        if token != f"Bearer {TOKEN}":
            return 200, {"ok": False, "error": "invalid_auth"}
        if path == "/api/auth.test":
            return 200, {
                "ok": True,
                "team_id": TEAM,
                "user_id": "U0BOT",
                "bot_id": "B0BOT",
                "user": "interlock",
            }
        if self.limit_next:
            self.limit_next -= 1
            return 429, {"ok": False, "error": "ratelimited"}
        if given.get("channel") != CHANNEL or path not in ("/api/chat.postMessage", "/api/chat.update"):
            return 200, {"ok": False, "error": "not_here"}
        ts = given.get("ts") or f"{len(self.posts) + 1}.000100"
        if path.endswith("postMessage"):
            self.posts.append(ts)
        self.messages[ts] = given
        return 200, {"ok": True, "ts": ts, "channel": CHANNEL}

    def press(
        self, bot: str, ts: str, user: str, name: str, *, typed: str = "", **changes: Any
    ) -> httpx.Response:
        """A button of a message is pressed. `age`, `secret` and `value` make it one that Slack did not send so."""
        (button,) = [
            each for block in self.messages[ts]["blocks"] if block["type"] == "actions"
            for each in block["elements"] if each["action_id"] == name
        ]  # fmt: skip
        value = changes.get("value", button["value"])
        payload = {
            "type": "block_actions", "team": {"id": TEAM}, "user": {"id": user, "team_id": TEAM},
            "channel": {"id": changes.get("channel", CHANNEL)}, "response_url": f"{self.url}/respond/{ts}",
            "message": {"ts": ts}, "state": {"values": {"why": {"why": {"type": "plain_text_input", "value": typed}}}},
            "actions": [{"type": "button", "block_id": "b", "action_id": name, "value": value, "action_ts": "17.1"}],
        }  # fmt: skip
        body = urlencode({"payload": json.dumps(payload)})
        return send_signed(bot, body, changes.get("secret", SECRET), changes.get("age", 0))


def send_signed(bot: str, body: str, secret: str, age: float) -> httpx.Response:
    """As https://api.slack.com/authentication/verifying-requests-from-slack says."""
    at = str(int(time.time() - age))
    signature = hmac.new(secret.encode(), f"v0:{at}:{body}".encode(), hashlib.sha256).hexdigest()
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-request-timestamp": at,
        "x-slack-signature": f"v0={signature}",
    }
    return httpx.post(f"{bot}/slack/events", content=body, headers=headers, timeout=60)


@contextmanager
def fake_slack() -> Iterator[FakeSlack]:
    """The server, until the end of the block."""
    slack = FakeSlack()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            is_json = self.headers.get("content-type", "").startswith("application/json")
            given = json.loads(body or "{}") if is_json else _form(body)
            status, found = slack.answer(
                self.path.partition("?")[0], self.headers.get("authorization", ""), given
            )
            data = json.dumps(found).encode()
            self.send_response(status)
            if status == 429:
                self.send_header("retry-after", "1")
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Tests say what they saw."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    slack.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield slack
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _form(body: str) -> dict[str, Any]:
    found: dict[str, Any] = dict(parse_qsl(body))
    if isinstance(found.get("blocks"), str):
        found["blocks"] = json.loads(found["blocks"])
    return found
