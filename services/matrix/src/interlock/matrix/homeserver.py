"""The calls of the Matrix client-server API that a bot needs (https://spec.matrix.org/v1.11/client-server-api/).

What is temporary is waited out here: 429 for as long as the homeserver asks, 5xx and lost connections with growing
pauses. What is not raises `Refused`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx

from interlock.common import logs
from interlock.common.errors import InterlockError, Reason

SYNC_SECONDS = 30
"""How long the homeserver holds a sync that has nothing to tell."""
LONGEST_WAIT = 60.0
"""Most seconds between two tries, whatever the homeserver asks for."""
PAGE = 100
"""Most events of a room in one answer."""
_MAX_ANSWER = 32 * 1024 * 1024
_HEARD = ["m.room.message", "m.reaction", "m.room.encryption"]
_ROOMS: dict[str, Any] = {
    "account_data": {"types": []},
    "ephemeral": {"types": []},
    "state": {"types": []},
    "timeline": {"types": _HEARD, "limit": PAGE},
}
_ONLY_POSITION = {"timeline": {"types": _HEARD, "limit": 1}}
_FILTER: dict[str, Any] = {"presence": {"types": []}, "account_data": {"types": []}}
_log = logs.get("homeserver")

Event = dict[str, Any]
Sleep = Callable[[float], Awaitable[None]]


class Refused(InterlockError):
    """The homeserver said no, and would say it again.

    status: HTTP status. error_code: of Matrix, such as `M_FORBIDDEN`, or empty.
    """

    def __init__(self, what: str, status: int, code: str) -> None:
        unknown = status == 401
        super().__init__(
            Reason.UNAUTHENTICATED if unknown else Reason.PERMISSION_DENIED,
            f"The homeserver refused {what}: {status} {code}".rstrip(),
            fix="Log in again and give the bot the new access token." if unknown else "",
        )
        self.status, self.error_code = status, code


class Homeserver:
    """One account on a homeserver.

    http: a client whose base is the homeserver's address, and whose headers hold the token.
    """

    def __init__(self, http: httpx.AsyncClient, sleep: Sleep = asyncio.sleep) -> None:
        self._http = http
        self._sleep = sleep

    async def who_am_i(self) -> str:
        """The account's user id."""
        return str((await self._ask("GET", "account/whoami"))["user_id"])

    async def join(self, room: str) -> str:
        """Be in a room, by id or alias; returns its id."""
        return str((await self._ask("POST", f"join/{_quoted(room)}", body={}))["room_id"])

    async def is_encrypted(self, room_id: str) -> bool:
        """Whether messages in the room are encrypted end to end."""
        try:
            await self._ask("GET", f"rooms/{_quoted(room_id)}/state/m.room.encryption/")
        except Refused as error:
            if error.status == 404:
                return False
            raise
        return True

    async def send(self, room_id: str, kind: str, content: Mapping[str, Any], transaction: str) -> str:
        """Send an event; returns its id. The same `transaction` again sends nothing and returns the same id."""
        path = f"rooms/{_quoted(room_id)}/send/{kind}/{_quoted(transaction)}"
        return str((await self._ask("PUT", path, body=content))["event_id"])

    async def sync(self, since: str, rooms: list[str]) -> Event:
        """What happened in these rooms after `since` (empty = only the position now), once something did."""
        chosen = {**_FILTER, "room": {**_ROOMS, "rooms": rooms, **({} if since else _ONLY_POSITION)}}
        query = {"filter": json.dumps(chosen), "timeout": str(SYNC_SECONDS * 1000 if since else 0)}
        return await self._ask("GET", "sync", query={**query, **({"since": since} if since else {})})

    async def before(self, room_id: str, position: str, until: str) -> Event:
        """A page of the room's events before `position`, newest first, back to `until`."""
        query = {"dir": "b", "from": position, "to": until, "limit": str(PAGE)}
        query["filter"] = json.dumps({"types": _HEARD})
        return await self._ask("GET", f"rooms/{_quoted(room_id)}/messages", query=query)

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Event:
        """One call, repeated while it is worth it. Every call here may be repeated: sending has its transaction."""
        pause, what = 0.5, f"{method} {path.partition('/')[0]}"
        while True:
            asked, why = 0.0, ""
            try:
                answer = await self._once(method, path, query, body)
            except httpx.TransportError as error:
                why = type(error).__name__
            else:
                if answer.status_code < 400:
                    return _mapping(answer)
                asked, why = asked_pause(answer), f"{answer.status_code} {_code(answer)}"
                if answer.status_code < 500 and answer.status_code != 429:
                    raise Refused(what, answer.status_code, _code(answer))
            seconds = min(LONGEST_WAIT, asked or pause)
            _log.warning("the homeserver is asked again", what=what, why=why, seconds=seconds)
            await self._sleep(seconds)
            pause = min(pause * 2, LONGEST_WAIT / 2)

    async def _once(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Mapping[str, Any] | None
    ) -> httpx.Response:
        url = f"/_matrix/client/v3/{path}"
        async with self._http.stream(method, url, params=query, json=body) as answer:
            data = bytearray()
            async for piece in answer.aiter_bytes():
                data += piece
                if len(data) > _MAX_ANSWER:
                    raise Refused("a short answer", 502, "too large")
        return httpx.Response(answer.status_code, headers=_plain(answer.headers), content=bytes(data))


@asynccontextmanager
async def connected(address: str, token: str) -> AsyncIterator[Homeserver]:
    """The account that `token` belongs to."""
    timeout = httpx.Timeout(30.0, read=SYNC_SECONDS + 30.0)
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=timeout) as http:
        yield Homeserver(http)


def asked_pause(answer: httpx.Response | None) -> float:
    """The seconds that a 429 asks to wait, by its header or its `retry_after_ms`; 0 when it does not say."""
    if answer is None or answer.status_code != 429:
        return 0.0
    asked = _mapping(answer).get("retry_after_ms")
    if isinstance(asked, int | float) and not isinstance(asked, bool) and asked > 0:
        return float(asked) / 1000
    header = answer.headers.get("retry-after", "")
    return float(header) if header.isascii() and header.isdigit() else 0.0


def _plain(headers: httpx.Headers) -> dict[str, str]:
    """The headers that are looked at; not those about an encoding that has been undone."""
    return {name: headers[name] for name in ("retry-after",) if name in headers}


def _mapping(answer: httpx.Response) -> Event:
    try:
        found = json.loads(answer.content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _code(answer: httpx.Response) -> str:
    code = _mapping(answer).get("errcode")
    return code if isinstance(code, str) and code.isascii() and len(code) < 100 else ""


def _quoted(text: str) -> str:
    return quote(text, safe="")
